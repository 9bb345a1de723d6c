# The commands of ghostdet on a CPU. Not built yet by anyone: report what fails.
#   docker build -t ghostdet .
#   docker run --rm -v "$PWD:/work" ghostdet predict examples/blood-cells/detector.xml photos --out found
FROM python:3.12-slim
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt ".[train,export]"
WORKDIR /work
ENTRYPOINT ["ghostdet"]
