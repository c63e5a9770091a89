// What the generated C++ takes of the header of Intel's HLS compiler, for the lint to read it without that compiler.
#pragma once

#define component
#define hls_avalon_slave_component
#define hls_avalon_slave_register_argument

namespace ihc {
template <typename element_t> struct stream {
    void write(const element_t& element);
    element_t read();
};
}  // namespace ihc
