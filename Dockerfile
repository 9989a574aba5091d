# The farm in one image: control plane, node of simulated terminals, simulated broker; see docker-compose.yml.
FROM python:3.11-slim
WORKDIR /farm
# The sandbox of users' own strategies.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/*
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/installer.txt \
    && uv pip install --system --no-cache --require-hashes -r requirements/farm.txt
COPY . .
# A volume takes over the owner of the folder that it is first mounted on.
RUN python control_plane/portal/build.py && uv pip install --system --no-cache --no-deps . \
    && mkdir -m 700 /broker /data /invite /node /secrets && chown nobody /broker /data /invite /node /secrets
USER nobody
ENTRYPOINT ["mt5farm"]
