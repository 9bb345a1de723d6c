# The commands of ghostdet on a CPU. tests/nightly/tools/test_dockerfile.py runs these steps in a bare Debian. Nobody has
# run `docker build` yet.
#   docker build -t ghostdet .
#   docker run --rm -v "$PWD:/work" ghostdet predict examples/blood-cells/detector.xml photos --out found
FROM python:3.12-slim
# Builds of PyTorch without CUDA. `--build-arg TORCH_INDEX=URL` takes them from elsewhere.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY setup.py pyproject.toml constraints.txt model-index.yml README.md LICENSE ./
COPY configs configs
COPY ghostdet ghostdet
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -c constraints.txt ".[train,export]"
# mmcv brings the OpenCV for desktops, which needs libraries that are not here.
RUN pip uninstall -y opencv-python opencv-python-headless \
 && pip install --no-cache-dir -c constraints.txt opencv-python-headless
WORKDIR /work
ENTRYPOINT ["ghostdet"]
