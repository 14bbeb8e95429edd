"""The `caffe` command."""
