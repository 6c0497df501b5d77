//! AWS-shaped REST: the iot control plane and the iot-data plane.
