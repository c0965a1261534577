"""FLOP formulas (1 multiply-add = 2 FLOP), and the rule by which an operator is work, traffic or uncounted.

The engine is the formula registry of `torch.utils.flop_counter`; this file adds the operators that it lacks (attention
on a CPU, matrix-vector products, packed int8 layers, recurrent layers) and mends one formula (the backward pass of a
grouped convolution, which it overstates by the number of groups).

The rule: an operator with a formula is *work*. An operator that torch tags as pointwise or as a reduction, or that is
named in `TRAFFIC` below, does a few operations per element and is *traffic*: it costs its bytes. Everything else,
custom operators included, is *uncounted* and is listed by name rather than taken for zero. A custom operator becomes
work by `torch.utils.flop_counter.register_flop_formula`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

__all__ = ["Kind", "flop_of", "kind_of", "packet_of"]

aten = torch.ops.aten
Kind = Literal["work", "traffic", "uncounted"]
Formula = Callable[..., int]


def _conv_backward(
    grad: Tensor, x: Tensor, weight: Tensor, _bias: Any, _stride: Any, _pad: Any, _dilation: Any, transposed: bool,
    _output_padding: Any, _groups: int, mask: tuple[bool, bool, bool], **_: Any,
) -> int:  # fmt: skip
    # Each of the two gradients pairs the same elements as the forward pass does; the bias gradient is a plain sum.
    positions = (x if transposed else grad).shape[2:]
    forward = 2 * x.shape[0] * prod(weight.shape) * prod(positions)
    return forward * (int(mask[0]) + int(mask[1]))


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape)


def _linear(x: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    return 2 * out_val.numel() * x.shape[-1]


def _mm(a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    return 2 * a.shape[0] * a.shape[1] * b.shape[1]


def _add_mm(_self: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    return _mm(a, b)


def _add_bmm(_self: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    return 2 * prod(a.shape) * b.shape[-1]


def _mv(matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _add_mv(_self: Tensor, matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _rnn(x: Tensor, w_input: Tensor, w_hidden: Tensor, *_: Any, **__: Any) -> int:
    return 2 * x.shape[0] * x.shape[1] * (w_input.numel() + w_hidden.numel())  # x: (time, N, C)


def _rnn_backward(*args: Any, **kwargs: Any) -> int:
    return 2 * _rnn(*args, **kwargs)


_LACKING: dict[str, Formula] = {
    "aten::convolution_backward": _conv_backward,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable_backward": _attention_backward,
    "aten::_scaled_dot_product_attention_math_for_mps": _attention,
    "aten::mv": _mv,
    "aten::addmv": _add_mv,
    "aten::addmv_": _add_mv,
    "aten::dot": _mv,
    "aten::vdot": _mv,
    "aten::addmm_": _add_mm,
    "aten::_addmm_activation": _add_mm,
    "aten::addbmm": _add_bmm,
    "aten::addbmm_": _add_bmm,
    "aten::baddbmm_": _add_bmm,
    "aten::_int_mm": _mm,
    "aten::_scaled_mm_v2": _mm,
    "aten::mkldnn_linear": _linear,
    "aten::_weight_int8pack_mm": _linear,
    "aten::_weight_int4pack_mm": _linear,
    "aten::_weight_int4pack_mm_for_cpu": _linear,
    "quantized::linear": _linear,
    "quantized::linear_dynamic": _linear,
    "aten::mkldnn_rnn_layer": _rnn,
    "aten::mkldnn_rnn_layer_backward": _rnn_backward,
}

# Names without a leading _foreach_ and without the endings that `_plain_name` drops.
_TRAFFIC_NAMES = """
    _softmax _log_softmax _safe_softmax _masked_scale logcumsumexp cumsum cumprod cummax cummin trace dist renorm
    native_batch_norm batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit native_group_norm
    _native_batch_norm_legit_no_training _native_batch_norm_legit_functional _batch_norm_with_update
    _batch_norm_with_update_functional _batch_norm_no_update native_layer_norm _fused_rms_norm
    _weight_norm_interface _thnn_fused_lstm_cell _thnn_fused_gru_cell
    avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d
    max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d
    fractional_max_pool2d fractional_max_pool3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa grid_sampler_2d grid_sampler_3d
    affine_grid_generator
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    constant_pad_nd im2col col2im unfold pixel_shuffle pixel_unshuffle channel_shuffle
    embedding embedding_dense _embedding_bag _embedding_bag_forward_only _embedding_bag_dense gather scatter
    scatter_add scatter_reduce index index_select index_add index_copy index_fill index_put index_reduce _unsafe_index
    _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate _index_put masked_select
    masked_scatter masked_fill take put select_scatter slice_scatter diagonal_scatter as_strided_scatter select slice
    diagonal nonzero nonzero_static bucketize searchsorted
    sort topk kthvalue median nanmedian mode bincount histc _unique2 unique_consecutive unique_dim isin
    cat _chunk_cat stack repeat repeat_interleave roll flip rot90 tril triu diag diag_embed block_diag
    clone copy _to_copy _pin_memory _pack_padded_sequence lift lift_fresh complex polar
    fill zero zeros zeros_like ones ones_like full full_like new_full new_ones new_zeros scalar_tensor eye arange
    linspace logspace tril_indices triu_indices
    rand rand_like randn randn_like randint randint_like randperm normal normal_functional uniform bernoulli exponential
    geometric cauchy log_normal poisson multinomial random _standard_gamma _sample_dirichlet binomial
    native_dropout _fused_dropout rrelu_with_noise
    floor_divide special_ndtr binary_cross_entropy_with_logits
    mse_loss smooth_l1_loss huber_loss binary_cross_entropy nll_loss nll_loss2d soft_margin_loss multi_margin_loss
    multilabel_margin_loss
    hardswish hardsigmoid hardtanh leaky_relu log_sigmoid softplus elu glu _prelu_kernel threshold addr linalg_cross
    _fused_adam _fused_adamw _fused_sgd _fused_adagrad _amp_foreach_non_finite_check_and_unscale _amp_update_scale
    quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic dequantize
    fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask _fused_moving_avg_obs_fq_helper
"""
TRAFFIC = frozenset(_TRAFFIC_NAMES.split())

_ENDINGS = re.compile(r"(_backward|_forward)?(_data|_impl|_copy)?(_out)?_?$")
_ELEMENTWISE_TAGS = {torch.Tag.pointwise, torch.Tag.reduction}


def packet_of(func: Any) -> Any:
    """The operator without its overload (`aten.add` of `aten.add.Tensor`): what formulas are registered for."""
    return getattr(func, "_overloadpacket", func)


def flop_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int | None:
    """FLOP of one call of an operator, or None where there is no formula."""
    packet = packet_of(func)
    formula = _LACKING.get(_qualified_name(packet)) or flop_registry.get(packet)
    return None if formula is None else int(formula(*args, **kwargs, out_val=out))


@cache
def kind_of(func: Any) -> Kind:
    """Which of the three an operator is: `work` (has a formula), `traffic` (costs its bytes) or `uncounted`."""
    packet = packet_of(func)
    if _qualified_name(packet) in _LACKING or packet in flop_registry:
        return "work"
    if not _qualified_name(packet).startswith(("aten::", "prims::")):
        return "uncounted"
    name = _qualified_name(packet).partition("::")[2]
    names = {name, _plain_name(name)}
    listed = name.endswith("_copy") or names & TRAFFIC
    return "traffic" if listed or _is_elementwise(func) or any(map(_is_elementwise, names)) else "uncounted"


def _qualified_name(packet: Any) -> str:
    return getattr(packet, "_qualified_op_name", None) or str(packet)


def _plain_name(name: str) -> str:
    return _ENDINGS.sub("", name.removeprefix("_foreach_"))


def _is_elementwise(operator: Any) -> bool:
    if isinstance(operator, str):
        packet = getattr(aten, operator, None)
        return packet is not None and any(_is_elementwise(getattr(packet, name)) for name in packet.overloads())
    return bool(_ELEMENTWISE_TAGS & set(getattr(operator, "tags", ())))
