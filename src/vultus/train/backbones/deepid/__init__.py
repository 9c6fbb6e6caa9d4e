"""The network of DeepID and the patches of the face that it looks at; `vultus.train.deepid` publishes them."""
