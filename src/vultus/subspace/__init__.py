"""What is fitted to embeddings: principal components, and a model of identity and variation that scores pairs.

Both are estimators with the interface of scikit-learn: `fit(X, y)`, `transform(X)`, `get_params`, `set_params`. They work in
its pipelines, and need numpy alone.
"""

from vultus.subspace.joint_bayesian import JointBayesian
from vultus.subspace.pca import PCA

__all__ = ["PCA", "JointBayesian"]
