// A card for the tests: memory is the host's, and the register file starts the accelerator's C++ as hardware would.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "bfpc_accelerator.hpp"

namespace xrt {

struct uuid {};

struct device {
    explicit device(unsigned) {}
    uuid load_xclbin(const std::string&) { return {}; }
};

enum xclBOSyncDirection { XCL_BO_SYNC_BO_TO_DEVICE, XCL_BO_SYNC_BO_FROM_DEVICE };

// What the host writes reaches the card when it is synchronized, and the other way round.
class bo {
public:
    enum class flags { normal };

    bo(const device&, size_t bytes, flags, unsigned) : host(bytes), card(bytes / sizeof(Beat)) {}
    void write(const void* source, size_t bytes, size_t first) { std::memcpy(&host.at(first), source, bytes); }
    void read(void* destination, size_t bytes, size_t first) { std::memcpy(destination, &host.at(first), bytes); }
    void sync(xclBOSyncDirection direction)
    {
        if (direction == XCL_BO_SYNC_BO_TO_DEVICE)
            std::memcpy(static_cast<void*>(card.data()), host.data(), host.size());
        else
            std::memcpy(host.data(), card.data(), host.size());
    }
    uint64_t address() const { return reinterpret_cast<uint64_t>(card.data()); }

private:
    std::vector<char> host;
    std::vector<Beat> card;
};

class ip {
public:
    ip(const device&, const uuid&, const std::string& name)
    {
        if (name != "bfpc_accelerator")
            throw std::runtime_error("there is no " + name);
    }
    void write_register(uint32_t offset, uint32_t value)
    {
        registers[offset] = value;
        if (offset == 0 && (value & 1)) {
            bfpc_accelerator(memory(0x10), memory(0x1c), memory(0x28), memory(0x34), memory(0x40), memory(0x4c),
                             memory(0x58), memory(0x64), registers.at(0x70), registers.at(0x78));
            registers[0] = 2 | 4;
        }
    }
    uint32_t read_register(uint32_t offset)
    {
        const uint32_t value = registers.at(offset);
        if (offset == 0)
            registers[0] &= ~2u;
        return value;
    }

private:
    Beat* memory(uint32_t offset)
    {
        return reinterpret_cast<Beat*>(uint64_t(registers.at(offset)) | uint64_t(registers.at(offset + 4)) << 32);
    }

    std::map<uint32_t, uint32_t> registers;
};

}  // namespace xrt

using xrt::XCL_BO_SYNC_BO_FROM_DEVICE;
using xrt::XCL_BO_SYNC_BO_TO_DEVICE;
