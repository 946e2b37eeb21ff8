"""Reads Parquet files with Spark; prints for each the types of its columns and its rows as texts, or the error, as JSON."""

import json
import os
import sys

# Keeps Spark on loopback.
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"

from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
found = []
for path in sys.argv[1:]:
    try:
        table = spark.read.parquet(path)
        rows = [[None if value is None else str(value) for value in row] for row in table.collect()]
        found.append({"types": dict(table.dtypes), "rows": rows})
    except Exception as error:
        found.append({"error": str(error)[:200]})
print(json.dumps(found))
