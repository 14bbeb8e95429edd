"""What several tests share; the tests themselves mirror ``src/caffe``."""
