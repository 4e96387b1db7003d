"""One Spark cluster for all tests here: a master and two workers, processes of their own, on this machine."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def spark_cluster():
    pyspark = pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17")
    # The workers are started from the installed package.
    os.environ.setdefault("SPARK_HOME", pyspark.__path__[0])
    from etl.engines import spark

    engine = spark.open(os.environ.get("DIALER_TEST_SPARK", "local-cluster[2,1,1024]"))
    # Two workers, little data: more parts would only be more tasks.
    engine.session.conf.set("spark.sql.shuffle.partitions", "2")
    yield engine
    engine.close()
