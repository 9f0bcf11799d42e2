# A service of an exported classifier, without TensorFlow:
#
#   python -m keras_transfer export pets.keras --format onnx --output exported
#   docker build --tag pets .
#   docker run --rm --publish 8000:8000 --env KERAS_TRANSFER_TOKEN=choose-one pets
FROM python:3.13-slim
WORKDIR /service
COPY requirements.txt pyproject.toml README.md LICENSE ./
RUN python -m pip install --no-cache-dir --constraint requirements.txt \
    setuptools numpy Pillow onnxruntime \
    fastapi uvicorn python-multipart prometheus-client
COPY keras_transfer keras_transfer
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation .
COPY exported exported
USER nobody
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz')"]
CMD ["python", "-m", "keras_transfer", "serve", "exported", "--host", "0.0.0.0", "--port", "8000"]
