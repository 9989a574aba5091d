# The farm's demo in one image; see docker-compose.yml.
FROM python:3.11-slim
WORKDIR /farm
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/installer.txt \
    && uv pip install --system --no-cache --require-hashes -r requirements/farm.txt
COPY . .
RUN python control_plane/portal/build.py && uv pip install --system --no-cache --no-deps . \
    && mkdir /data && chown nobody /data
USER nobody
ENTRYPOINT ["mt5farm"]
