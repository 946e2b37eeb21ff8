"""Downloads a URL with the Python client. Arguments: the URL and the path of the file. Prints the retries."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients/python/src"))
import rowlink

url, path = sys.argv[1:]
retries = []
rowlink.download(url, path, progress=lambda progress: retries.append(progress.retries))
print(sum(1 for retry in retries if retry == 1))
