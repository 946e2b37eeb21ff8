"""Prints the name, size, method and SHA-256 of each file in a ZIP archive, as Python reads it."""

import hashlib
import json
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as archive:
    assert archive.testzip() is None
    files = [
        [entry.filename, entry.file_size, entry.compress_type, hashlib.sha256(archive.read(entry)).hexdigest()]
        for entry in archive.infolist()
    ]
print(json.dumps(files))
