# srgan serve: no torch, no root. The compose file makes the file system read-only.
FROM python:3.12-slim

RUN useradd --system --uid 10001 srgan
WORKDIR /srgan
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[serve]"

USER 10001
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz')"]
ENTRYPOINT ["srgan", "serve", "--host", "0.0.0.0"]
