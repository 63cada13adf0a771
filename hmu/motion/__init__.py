"""What a motion is, without learning: skeleton, features, rotations, files, kinematics."""
