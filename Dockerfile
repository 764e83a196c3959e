# The bridge as an image; docs/deploy/docker.md says how to run it. A test takes the same steps.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /venv
COPY requirements.txt ./
RUN /venv/bin/pip install --disable-pip-version-check -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
COPY templates templates
RUN /venv/bin/pip install --disable-pip-version-check --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home bridge && install -d -o bridge -g bridge /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DATABASE_URL=sqlite:////data/bridge.db
# Mount your own templates at /app/templates, and your routes at /app/routes.toml.
WORKDIR /app
USER bridge
EXPOSE 8000
# Mount a volume at /data. It is not declared by VOLUME here, because Railway refuses that.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.getenv(\"PORT\", 8000)}/healthz', timeout=4)"]
CMD ["bridge", "serve"]
