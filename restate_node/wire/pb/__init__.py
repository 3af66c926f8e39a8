"""Messages of the gRPC control plane, generated from `protos/`; never edited by hand.

`protos/generate.py` writes `<name>_pb2.py` (messages), `.pyi` (their types) and `_pb2_grpc.py`
(client stubs). Node-to-node traffic does not use them.
"""
