"""Lessons and building blocks for transfer learning with Keras."""

import importlib

from keras_transfer.runtime.keras_settings import check_keras

_MODULES = {
    "profile": "runtime.profiles",
    "load_dataset": "data.tfds",
    "DatasetUnavailableError": "data.splits",
    "Splits": "data.splits",
    "load_directory": "data.directory",
    "practice_folder": "samples.practice",
    "load_image": "data.decoding",
    "UnreadableImageError": "data.decoding",
    "build_backbone": "backbones.build",
    "backbones": None,
    "register_backbone": "backbones.registration",
    "block_names": "backbones.blocks",
    "WeightsUnavailableError": "backbones.weights.sources",
    "weights_folder": "backbones.weights.carried_files",
    "read_onnx_weights": "backbones.weights.onnx_initializers",
    "extract_features": "features.extraction",
    "similar_images": "features.similar",
    "split_at_block": "backbones.blocks",
    "extract_feature_maps": "features.maps",
    "build_classifier": "classifier.head",
    "compile_classifier": "models.compiling",
    "fit_head": "classifier.head",
    "build_augmentation": "data.augmentation",
    "freeze": "fine_tuning.freezing",
    "unfreeze": "fine_tuning.freezing",
    "trainable_summary": "fine_tuning.summary",
    "discriminative_learning_rates": "fine_tuning.learning_rates",
    "find_learning_rate": "fine_tuning.learning_rate_finder",
    "fine_tune": "fine_tuning.fine_tune",
    "Recipe": "comparison.recipe",
    "compare": "comparison.runner",
    "train_on_cluster": "cluster.training",
    "callbacks": None,
    "save_classifier": "classifier.saved",
    "load_classifier": "classifier.saved",
    "fit_unknown_detector": "classifier.unknown",
    "pooled_features_of": "classifier.network",
    "class_probabilities": "models.outputs",
    "evaluate_classifier": "evaluation.evaluate",
    "evaluate_files": "evaluation.files",
    "accuracy_interval": "evaluation.statistics",
    "paired_test": "evaluation.statistics",
    "expected_calibration_error": "evaluation.calibration",
    "fit_temperature": "evaluation.calibration",
    "calibration_temperature": "evaluation.calibration",
    "apply_temperature": "evaluation.calibration",
    "kept_figures": "evaluation.evaluate",
    "diagnose": "diagnosis.examine",
    "train_classifier": "workflow.train",
    "grad_cam": "explanation.grad_cam",
    "record": "lessons.ledger",
    "data_dir": "runtime.paths",
    "output_dir": "lessons.ledger",
    "plots": None,
    "check_directory": "workflow.check",
    "apply_review": "workflow.review",
    "verify": None,
    "export_classifier": "deployment.export",
    "load_exported": "deployment.exported",
}
__all__ = list(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Imported when first asked for: the package alone brings in neither Keras nor
    # TensorFlow, which take seconds. Nothing is kept here, so that each call finds out
    # how Keras is set by then.
    check_keras()
    if _MODULES[name] is None:
        return importlib.import_module(f"{__name__}.{name}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
