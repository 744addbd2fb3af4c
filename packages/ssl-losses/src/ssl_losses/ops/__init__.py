"""Operations on tensors that several losses share."""
