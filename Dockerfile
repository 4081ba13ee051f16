# srgan serve: no torch, no root. The compose file makes the file system read-only.
FROM python:3.12-slim

RUN useradd --system --uid 10001 srgan
WORKDIR /srgan
# Every dependency at one version and with its hash: the same image from the same commit.
COPY requirements/serve.txt ./requirements/
RUN pip install --no-cache-dir --require-hashes --requirement requirements/serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir --no-deps .

USER 10001
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz')"]
ENTRYPOINT ["srgan", "serve", "--host", "0.0.0.0"]
