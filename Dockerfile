# AnaMoDiff on a CPU, without a display:
#
#     docker build --tag anamodiff .
#     docker run --rm --volume "$PWD:/data" anamodiff demo
#     docker run --rm --volume "$PWD:/data" anamodiff transfer \
#         --source turtle.gif --driving rhino.gif --prompt "a turtle"
#
# Results are in outputs/ of the folder. Where that is not yours with the number 1000, add
# --user "$(id -u):$(id -g)".

ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build

# PyTorch's own wheels for CPUs, without the gigabytes of CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/anamodiff
ENV PATH="/opt/anamodiff/bin:$PATH"
RUN pip install --index-url "$TORCH_INDEX" "torch>=2.8,<3"

# The requirements with OpenCV's headless build in the place of opencv-python, which needs libGL and
# X11 of the system. pip cannot put one package in another's place, so they are installed by
# themselves, before the package without them. They change seldom: Docker keeps this layer.
WORKDIR /src
COPY pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        | sed 's/^opencv-python\b/opencv-python-headless/' > requirements.txt \
    && grep -q '^opencv-python-headless' requirements.txt \
    && pip install --requirement requirements.txt

COPY . .
RUN pip install --no-deps . && anamodiff --version

FROM python:${PYTHON}-slim
COPY --from=build /opt/anamodiff /opt/anamodiff
ENV PATH="/opt/anamodiff/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    ANAMODIFF_CACHE=/cache/anamodiff
# Anyone may write there: the user's number may be another.
RUN useradd --create-home --uid 1000 anamodiff \
    && mkdir --parents /data /cache \
    && chmod 1777 /data /cache
USER anamodiff
WORKDIR /data
VOLUME ["/data", "/cache"]
ENTRYPOINT ["anamodiff"]
CMD ["--help"]
