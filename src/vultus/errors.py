"""The tree of errors: whatever vultus raises on purpose is a `VultusError` with a stable code.

A message says what came, what was expected and what to do next. The codes are part of the public interface: the
command line prints them and the service puts them into its problem documents.
"""

from __future__ import annotations

from typing import ClassVar

from vultus._export import export


@export("vultus.errors.VultusError")
class VultusError(Exception):
    """Base of every deliberate error. `request_id` names the request where a service told it to `vultus.client`."""

    code: ClassVar[str] = "error"
    request_id: str | None = None


@export("vultus.errors.BadArgument")
class BadArgument(VultusError, ValueError):
    """An argument has the wrong type, shape, range or name."""

    code = "bad_argument"


# --- images -----------------------------------------------------------------------------------------------------------


@export("vultus.errors.ImageError")
class ImageError(VultusError, ValueError):
    """Base of what can be wrong with an image."""

    code = "bad_image"


@export("vultus.errors.ImageParseError")
class ImageParseError(ImageError):
    """The bytes are empty, garbage, truncated or damaged."""

    code = "parse_error"


@export("vultus.errors.ImageTooLarge")
class ImageTooLarge(ImageError):
    """More bytes, pixels or a longer side than the caps allow."""

    code = "too_large"


@export("vultus.errors.UnsupportedImage")
class UnsupportedImage(ImageError):
    """A format or pixel layout that vultus does not read, perhaps because an extra is not installed."""

    code = "unsupported"


@export("vultus.errors.SourceUnavailable")
class SourceUnavailable(VultusError, OSError):
    """A file is missing, is a directory or cannot be read."""

    code = "source_unavailable"


# --- faces ------------------------------------------------------------------------------------------------------------


@export("vultus.errors.FaceError")
class FaceError(VultusError, ValueError):
    """Base of what can be wrong with the faces of a photo."""

    code = "bad_face"


@export("vultus.errors.NoFace")
class NoFace(FaceError):
    """No face was found where one is needed."""

    code = "no_face"


@export("vultus.errors.ManyFaces")
class ManyFaces(FaceError):
    """Several faces were found where exactly one is asked for."""

    code = "many_faces"


@export("vultus.errors.PresentationAttack")
class PresentationAttack(FaceError):
    """A face that the attack detector takes for a printed photo, a screen or a mask."""

    code = "presentation_attack"


# --- templates and thresholds -----------------------------------------------------------------------------------------


@export("vultus.errors.BadTemplate")
class BadTemplate(VultusError, ValueError):
    """An embedding that is not finite, has no length or has the wrong dimension."""

    code = "bad_template"


@export("vultus.errors.ModelMismatch")
class ModelMismatch(VultusError, ValueError):
    """Templates of two models, which have no common scale, were put together."""

    code = "model_mismatch"


@export("vultus.errors.TooFewComparisons")
class TooFewComparisons(VultusError, ValueError):
    """A rate was asked for that the data cannot support."""

    code = "too_few_comparisons"


@export("vultus.errors.NotFitted")
class NotFitted(VultusError, ValueError, AttributeError):
    """An estimator is used before its `fit`."""

    code = "not_fitted"


@export("vultus.errors.NoThreshold")
class NoThreshold(VultusError, ValueError):
    """The manifest has no measured threshold for the rate that was asked for."""

    code = "no_threshold"


# --- weights and runtime ----------------------------------------------------------------------------------------------


@export("vultus.errors.WeightsError")
class WeightsError(VultusError):
    """Base of what can be wrong with weights."""

    code = "bad_weights"


@export("vultus.errors.ManifestError")
class ManifestError(WeightsError, ValueError):
    """A manifest that is missing, cannot be parsed, or has a wrong or unknown key."""

    code = "bad_manifest"


@export("vultus.errors.WeightsMissing")
class WeightsMissing(WeightsError):
    """The weights file is in none of the places that are looked at."""

    code = "weights_missing"


@export("vultus.errors.WeightsMismatch")
class WeightsMismatch(WeightsError):
    """The sha256 of a weights file differs from its manifest."""

    code = "sha256_mismatch"


@export("vultus.errors.LicenceNotAccepted")
class LicenceNotAccepted(WeightsError):
    """Weights whose licence restricts their use were asked for without accepting it."""

    code = "licence_not_accepted"


@export("vultus.errors.GraphError")
class GraphError(WeightsError):
    """An ONNX graph that cannot be prepared or does not have the inputs and outputs of its manifest."""

    code = "bad_graph"


@export("vultus.errors.SelfTestFailed")
class SelfTestFailed(WeightsError):
    """The runtime computes something other than the known answer."""

    code = "self_test_failed"


@export("vultus.errors.ProviderUnavailable")
class ProviderUnavailable(VultusError):
    """An execution provider that this installation of the runtime does not have."""

    code = "provider_unavailable"


# --- what is not part of the core --------------------------------------------------------------------------------------


@export("vultus.errors.ExtraMissing")
class ExtraMissing(VultusError, ImportError):
    """A package that an extra of vultus brings is not installed."""

    code = "extra_missing"


@export("vultus.errors.ClusterUnavailable")
class ClusterUnavailable(VultusError):
    """A Ray cluster that cannot be started or reached, or whose workers failed; nothing was written."""

    code = "cluster_unavailable"


# --- gallery ----------------------------------------------------------------------------------------------------------


@export("vultus.errors.GalleryError")
class GalleryError(VultusError):
    """Base of what can be wrong with a gallery."""

    code = "bad_gallery"


@export("vultus.errors.GalleryMissing")
class GalleryMissing(GalleryError):
    """There is no gallery at the path."""

    code = "gallery_missing"


@export("vultus.errors.GalleryCorrupt")
class GalleryCorrupt(GalleryError):
    """The file is damaged, or is no gallery."""

    code = "gallery_corrupt"


@export("vultus.errors.GalleryLocked")
class GalleryLocked(GalleryError):
    """An encrypted gallery without its key or with another, or a key for one that is not encrypted."""

    code = "gallery_locked"


@export("vultus.errors.GalleryTooNew")
class GalleryTooNew(GalleryError):
    """The gallery was written by a newer vultus."""

    code = "gallery_too_new"


@export("vultus.errors.GalleryBusy")
class GalleryBusy(GalleryError):
    """Another process held the gallery for longer than this one was to wait; nothing was changed."""

    code = "gallery_busy"


@export("vultus.errors.GalleryReadOnly")
class GalleryReadOnly(GalleryError):
    """The gallery cannot be written; reading goes on."""

    code = "gallery_read_only"


@export("vultus.errors.GalleryFull")
class GalleryFull(GalleryError):
    """There is no room on the disk; nothing was acknowledged, and reading goes on."""

    code = "gallery_full"


@export("vultus.errors.GalleryUnavailable")
class GalleryUnavailable(GalleryError):
    """The storage reported an error, or the gallery is closed; nothing was acknowledged."""

    code = "gallery_unavailable"


@export("vultus.errors.SubjectExists")
class SubjectExists(GalleryError, ValueError):
    """The subject is enrolled already."""

    code = "subject_exists"


@export("vultus.errors.SubjectUnknown")
class SubjectUnknown(GalleryError, LookupError):
    """No such subject is enrolled."""

    code = "subject_unknown"


@export("vultus.errors.RequestConflict")
class RequestConflict(GalleryError, ValueError):
    """An idempotency key was used before for another request."""

    code = "request_conflict"


@export("vultus.errors.ArchiveRefused")
class ArchiveRefused(GalleryError, ValueError):
    """An archive that is damaged, unsafe to unpack, or not one of a gallery."""

    code = "bad_archive"


# --- augmentation -----------------------------------------------------------------------------------------------------


@export("vultus.errors.BadPolicy")
class BadPolicy(VultusError, ValueError):
    """An augmentation policy that cannot be read or parsed, or a key or value in it that is wrong or unknown."""

    code = "bad_policy"


# --- album ------------------------------------------------------------------------------------------------------------


@export("vultus.errors.AlbumError")
class AlbumError(VultusError):
    """A folder that is no album, is damaged, was written by a newer vultus, or cannot be written."""

    code = "bad_album"


@export("vultus.errors.AlbumBusy")
class AlbumBusy(AlbumError):
    """Another process is working on the album; nothing was changed."""

    code = "album_busy"


# --- analysis ---------------------------------------------------------------------------------------------------------


@export("vultus.errors.AnalysisError")
class AnalysisError(VultusError):
    """A network that cannot be looked into: an operator that is not known, or a way through it that depends on values."""

    code = "analysis_failed"


# --- training ---------------------------------------------------------------------------------------------------------


@export("vultus.errors.TrainingError")
class TrainingError(VultusError):
    """Base of what can go wrong while a model is trained."""

    code = "training_failed"


@export("vultus.errors.BadRecipe")
class BadRecipe(TrainingError, ValueError):
    """A recipe that cannot be parsed, or a key or value in it that is wrong or unknown."""

    code = "bad_recipe"


@export("vultus.errors.BadBatch")
class BadBatch(TrainingError, ValueError):
    """Features that are not finite, labels out of range, or shapes that do not fit; names the rank and the tensor."""

    code = "bad_batch"


@export("vultus.errors.NotFinite")
class NotFinite(TrainingError, ArithmeticError):
    """A loss, activation, gradient or parameter became NaN or infinite; names the tensor, the step and the rank."""

    code = "not_finite"


@export("vultus.errors.DatasetError")
class DatasetError(TrainingError, ValueError):
    """Photos that cannot be trained on: no classes, one class, or a class without a photo."""

    code = "bad_dataset"


@export("vultus.errors.ShardCorrupt")
class ShardCorrupt(TrainingError, ValueError):
    """A shard, or a photo in it, that is damaged or is not what its manifest says."""

    code = "shard_corrupt"


@export("vultus.errors.CheckpointMissing")
class CheckpointMissing(TrainingError, LookupError):
    """There is no checkpoint at the path."""

    code = "checkpoint_missing"


@export("vultus.errors.CheckpointCorrupt")
class CheckpointCorrupt(TrainingError, ValueError):
    """A checkpoint that is damaged, incomplete or of a kind that is not read."""

    code = "checkpoint_corrupt"


@export("vultus.errors.CheckpointMismatch")
class CheckpointMismatch(TrainingError, ValueError):
    """A checkpoint of another model, recipe or data set."""

    code = "checkpoint_mismatch"


@export("vultus.errors.CheckpointNotSaved")
class CheckpointNotSaved(TrainingError, OSError):
    """A checkpoint could not be written; the one before it is whole."""

    code = "checkpoint_not_saved"


@export("vultus.errors.WorldSizeError")
class WorldSizeError(TrainingError, ValueError):
    """A number of processes that does not fit the batch, the classes or the launcher's variables."""

    code = "bad_world_size"


@export("vultus.errors.RankDisagreement")
class RankDisagreement(TrainingError):
    """Two processes of a run differ in recipe, data or code; names the rank and what differs."""

    code = "ranks_disagree"


@export("vultus.errors.RankFailed")
class RankFailed(TrainingError):
    """A process of the run died or did not answer in time; names its rank."""

    code = "rank_failed"


# --- service ----------------------------------------------------------------------------------------------------------


@export("vultus.errors.ServiceError")
class ServiceError(VultusError):
    """Base of what the service refuses or cannot do."""

    code = "service_error"


@export("vultus.errors.BadSettings")
class BadSettings(ServiceError, ValueError):
    """Settings of the service that cannot be read, are wrong or unknown, or would be unsafe."""

    code = "bad_settings"


@export("vultus.errors.BadRequest")
class BadRequest(ServiceError, ValueError):
    """A request whose body, form or address cannot be parsed."""

    code = "bad_request"


@export("vultus.errors.RequestTooLarge")
class RequestTooLarge(ServiceError, ValueError):
    """A body, a part or a number of parts over the caps."""

    code = "request_too_large"


@export("vultus.errors.RequestTooSlow")
class RequestTooSlow(ServiceError):
    """A body that did not arrive in time."""

    code = "request_too_slow"


@export("vultus.errors.UnsupportedBody")
class UnsupportedBody(ServiceError, ValueError):
    """A body of a media type that the route does not take."""

    code = "unsupported_body"


@export("vultus.errors.NotAuthenticated")
class NotAuthenticated(ServiceError):
    """No key, an unknown or revoked one, or a session that has ended."""

    code = "not_authenticated"


@export("vultus.errors.NotAllowed")
class NotAllowed(ServiceError):
    """The key lacks a scope, or the request comes from another site."""

    code = "not_allowed"


@export("vultus.errors.LockedOut")
class LockedOut(ServiceError):
    """Too many failed attempts with a key, from an address or for a claimed subject."""

    code = "locked_out"


@export("vultus.errors.RateLimited")
class RateLimited(ServiceError):
    """More requests than the key may make."""

    code = "rate_limited"


@export("vultus.errors.Overloaded")
class Overloaded(ServiceError):
    """Too many requests wait already; nothing was done."""

    code = "overloaded"


@export("vultus.errors.DeadlineExceeded")
class DeadlineExceeded(ServiceError):
    """The answer would have come too late; nothing was changed."""

    code = "deadline_exceeded"


@export("vultus.errors.NotReady")
class NotReady(ServiceError):
    """The service is starting or stopping."""

    code = "not_ready"


@export("vultus.errors.NotFound")
class NotFound(ServiceError, LookupError):
    """There is no such route, job, review, key, face or thumbnail."""

    code = "not_found"


@export("vultus.errors.GalleryExists")
class GalleryExists(ServiceError, ValueError):
    """A gallery of this name is there already."""

    code = "gallery_exists"


@export("vultus.errors.StateConflict")
class StateConflict(ServiceError, ValueError):
    """What was asked for does not fit the state of a job or a review."""

    code = "state_conflict"


@export("vultus.errors.AuditBroken")
class AuditBroken(ServiceError):
    """The audit log was changed: an entry was edited, dropped, moved or cut off."""

    code = "audit_broken"


@export("vultus.errors.AuditUnavailable")
class AuditUnavailable(ServiceError):
    """The audit log cannot be written, so that nothing may be changed or decided."""

    code = "audit_unavailable"


@export("vultus.errors.FetchRefused")
class FetchRefused(ServiceError, ValueError):
    """An image address that is not fetched: the option is off, or it leads where the service must not go."""

    code = "fetch_refused"


@export("vultus.errors.ServiceUnreachable")
class ServiceUnreachable(ServiceError, OSError):
    """The service did not answer the client: nobody listens, or an answer did not come in time."""

    code = "service_unreachable"


@export("vultus.errors.BadAnswer")
class BadAnswer(ServiceError, ValueError):
    """Something that is no answer of a vultus service, or of one that this client does not know."""

    code = "bad_answer"
