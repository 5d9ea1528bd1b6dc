#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One data2vec 2.0 pre-training step in plain PyTorch, as the speed peer of the C++ library.

What is timed is ONE whole step on data that is already in memory: draw the masks, run the student on
the visible tokens of M masked copies of every sample, run the EMA teacher on the full input, build
the targets (mean of the instance-normalised FFN outputs of the top K blocks), run the convolutional
decoder, L2 loss (+ CLS loss for images), backward, gradient-norm clipping, AdamW, EMA update.

    python torch_data2vec2.py --modality vision --config tiny28 --threads 2 --sdpa --json out.json
    python torch_data2vec2.py --modality vision --config vit_base --batch 64 --device cuda \
        --dtype bfloat16 --sdpa --compile

Its loss and gradients were compared with the public model (same weights, masks, noise). CPU and CUDA, PyTorch >= 2.4.
"""
from __future__ import annotations

import argparse, copy, json, math, resource, sys, time, types

IMPORT_BEGIN = time.perf_counter()
import torch
import torch.nn.functional as F
from torch import nn
IMPORT_SECONDS = time.perf_counter() - IMPORT_BEGIN
from peer_timing import cpu_name, measure, profile_top

DEFAULTS = dict(
    prenet=0,  # blocks before the main ones, never used as targets
    mask_span=3, mask_adjust=0.0, visible=0,  # visible tokens per masked copy; 0: from mask_prob
    dec_residual=True, dec_hidden=0,  # hidden width of a two-layer output head; 0: one linear layer
    eps=1e-5, loss_scale=None,  # None: 1/sqrt(dim)
    cls_weight=0.0, norm_targets=False,  # layer-norm the averaged target
    drop=0.0, drop_embed=0.0, drop_decoder=0.0, noise=0.01,
    lr=1e-4, betas=(0.9, 0.95), adam_eps=1e-8, weight_decay=0.05, clip=4.0, ema_decay=0.9998,
    image=0, channels=3, patch=16,  # vision
    samples=0, convs=(), pos_layers=0, pos_kernel=19, pos_groups=16,  # speech; convs: (dim, kernel, stride)
    vocab=0, tokens=0,  # text
)

def Spec(**values):
    """Every shape and constant of one experiment: DEFAULTS, then the keywords given, then what follows from them."""
    spec = types.SimpleNamespace(**{**DEFAULTS, **values})
    spec.length = spec.tokens or (spec.image // spec.patch) ** 2  # tokens of one sample, without CLS
    if spec.modality == "speech":
        spec.length = spec.samples
        for _, kernel, stride in spec.convs:
            spec.length = (spec.length - kernel) // stride + 1
    spec.extra = int(spec.modality == "vision")
    spec.keep = spec.visible or int(spec.length * (1 - spec.mask_prob))
    return spec

VISION = dict(modality="vision", eps=1e-6, cls_weight=0.01, norm_targets=True, mask_prob=0.8, mask_adjust=0.07)
SPEECH = dict(modality="speech", mask_prob=0.5, mask_span=5, betas=(0.9, 0.98), adam_eps=1e-6, weight_decay=0.01,
              clip=0.0, ema_decay=0.999)
TEXT = dict(modality="text", mask_prob=0.48, mask_span=1, betas=(0.9, 0.98), adam_eps=1e-6, weight_decay=0.01,
            clip=1.0, ema_decay=0.9999, loss_scale=1.0, dec_groups=1, dec_kernel=9, dec_residual=False)
DROPOUT = dict(drop=0.1, drop_embed=0.1, drop_decoder=0.1)
WAV_CONVS = ((512, 10, 5),) + ((512, 3, 2),) * 4 + ((512, 2, 2),) * 2
SPECS = {
    "vision": {
        "tiny28": Spec(**VISION, dim=96, prenet=1, depth=3, heads=3, batch=64, masks=8, top_k=3, image=28, channels=1,
                       patch=4, dec_dim=96, dec_groups=8, dec_kernel=3, dec_layers=3),
        "small32": Spec(**VISION, dim=192, prenet=2, depth=6, heads=3, batch=32, masks=8, top_k=6, image=32, patch=4,
                        dec_dim=192, dec_groups=8, dec_kernel=3, dec_layers=4),
        "vit_base": Spec(**VISION, dim=768, prenet=2, depth=10, heads=12, batch=1, masks=16, top_k=10, image=224,
                         dec_dim=768, dec_groups=16, dec_kernel=3, dec_layers=6),
        "vit_large": Spec(**{**VISION, "mask_prob": 0.75, "mask_adjust": 0.1}, dim=1024, depth=24, heads=16, batch=1,
                          masks=16, top_k=18, image=224, dec_dim=1024, dec_groups=16, dec_kernel=5, dec_layers=3),
    },
    "speech": {
        "tiny": Spec(**SPEECH, dim=96, depth=4, heads=3, batch=8, masks=8, top_k=4, samples=8000, visible=130,
                     convs=((64, 10, 5), (64, 3, 2), (64, 3, 2), (64, 2, 2)), pos_layers=3, pos_groups=8,
                     dec_dim=96, dec_groups=8, dec_kernel=7, dec_layers=3),
        "base": Spec(**SPEECH, **DROPOUT, dim=768, depth=12, heads=12, batch=1, masks=8, top_k=8, samples=160000,
                     visible=306, convs=WAV_CONVS, pos_layers=5, dec_dim=384, dec_groups=16, dec_kernel=7,
                     dec_layers=4),
    },
    "text": {
        "tiny": Spec(**TEXT, dim=96, depth=4, heads=3, batch=16, masks=8, top_k=4, vocab=2000, tokens=128,
                     dec_dim=96, dec_layers=3, dec_hidden=192),
        "base": Spec(**TEXT, **DROPOUT, dim=768, depth=12, heads=12, batch=1, masks=8, top_k=12, vocab=50265,
                     tokens=512, dec_dim=768, dec_layers=5, dec_hidden=1536),
    },
}

# ------------------------------------------------------------------------------------ the network
def attend(q, k, v, bias, drop, fused):
    """Softmax attention over (batch, heads, length, head_dim), with an optional additive bias."""
    if fused:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype),
                                              dropout_p=drop)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    return F.dropout(scores.softmax(-1, dtype=torch.float32).to(v.dtype), drop, drop > 0) @ v

class Block(nn.Module):
    """Post-norm transformer block; also returns the FFN output before the residual (the target)."""

    def __init__(self, dim, heads, eps, drop, fused):
        super().__init__()
        self.heads, self.drop, self.fused = heads, drop, fused
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps), nn.LayerNorm(dim, eps)

    def forward(self, x, bias=None):
        batch, length, dim = x.shape
        drop = self.drop if self.training else 0.0
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(q, k, v, bias, drop, self.fused).transpose(1, 2).reshape(batch, length, dim)
        x = self.norm1(x + F.dropout(self.proj(mixed), drop, drop > 0))
        ffn = self.fc2(F.gelu(self.fc1(x)))
        return self.norm2(x + F.dropout(ffn, drop, drop > 0)), ffn

class ConvStack(nn.Module):
    """Grouped 'same' convolutions, each followed by a plain LayerNorm and GELU; channels-last in and out.
    Grids use channels-last 2-D convolutions, sequences plain 1-D ones: each is the faster layout on CPU."""
    def __init__(self, sizes, kernel, groups, grid=None, residual=False):
        super().__init__()
        self.grid, self.residual, conv = grid, residual, nn.Conv2d if grid else nn.Conv1d
        self.convs = nn.ModuleList(conv(a, b, kernel, padding=kernel // 2, groups=groups)
                                   for a, b in zip(sizes[:-1], sizes[1:]))

    def forward(self, x):  # (batch, length, channels)
        shape = x.shape[:-1]
        for conv in self.convs:
            if self.grid:
                y = conv(x.reshape(-1, *self.grid, x.shape[-1]).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
                y = y.reshape(*shape, -1)
            else:
                y = conv(x.transpose(1, 2)).transpose(1, 2)
            y = F.gelu(F.layer_norm(y, y.shape[-1:]))
            x = x + y if self.residual and x.shape == y.shape else y
        return x

class Decoder(nn.Module):
    """Convolutions over the full grid; the output head runs on the masked positions only."""

    def __init__(self, spec: Spec):
        super().__init__()
        sizes = [spec.dim] + [spec.dec_dim] * spec.dec_layers
        grid = (int(math.sqrt(spec.length)),) * 2 if spec.modality == "vision" else None
        self.stack = ConvStack(sizes, spec.dec_kernel, spec.dec_groups, grid, spec.dec_residual)
        if spec.dec_hidden:
            self.head = nn.Sequential(nn.Linear(spec.dec_dim, spec.dec_hidden), nn.GELU(),
                                      nn.Linear(spec.dec_hidden, spec.dim))
        else:
            self.head = nn.Linear(spec.dec_dim, spec.dim)

    def forward(self, x, masked_rows):  # x: (copies, length, dim)
        y = self.stack(x)
        return self.head(F.embedding(masked_rows, y.reshape(-1, y.shape[-1])))

class ImagePatches(nn.Module):
    def __init__(self, spec: Spec):
        super().__init__()
        self.patch, self.linear = spec.patch, nn.Linear(spec.channels * spec.patch ** 2, spec.dim)

    def forward(self, image):
        b, c, h, w = image.shape
        p = self.patch
        return self.linear(image.view(b, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * p * p))

class WaveFeatures(nn.Module):
    """Strided convolutions over the raw wave, LayerNorm + GELU after each, then a projection."""

    def __init__(self, spec: Spec):
        super().__init__()
        widths = [1] + [d for d, _, _ in spec.convs]
        self.convs = nn.ModuleList(nn.Conv1d(a, d, k, stride=s, bias=False)
                                   for a, (d, k, s) in zip(widths, spec.convs))
        self.norms = nn.ModuleList(nn.LayerNorm(d) for d in widths[1:])
        self.norm, self.linear = nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], spec.dim)

    def forward(self, wave):
        x = wave[:, :, None]
        for conv, norm in zip(self.convs, self.norms):
            x = F.gelu(norm(conv(x.transpose(1, 2)).transpose(1, 2)))
        return self.linear(self.norm(x))

class TokenEmbedding(nn.Module):
    def __init__(self, spec: Spec):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(spec.vocab, spec.dim), nn.Embedding(spec.tokens, spec.dim)
        self.norm, self.drop = nn.LayerNorm(spec.dim), spec.drop_embed

    def forward(self, ids):
        return F.dropout(self.norm(self.tokens(ids) + self.positions.weight), self.drop, self.training)

def sincos_grid(side, dim):
    """Fixed 2-D sine/cosine position table: half the channels encode the column, half the row."""
    freq = 1.0 / 10000 ** (torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angle = torch.arange(side, dtype=torch.float64)[:, None] * freq
    axis = torch.cat([angle.sin(), angle.cos()], 1)
    return torch.cat([axis.repeat(side, 1), axis.repeat_interleave(side, 0)], 1).float()

def alibi_slopes(heads):
    if math.log2(heads).is_integer():
        first = 2 ** (-8 / heads)
        return [first ** (i + 1) for i in range(heads)]
    base = 2 ** int(math.log2(heads))
    return alibi_slopes(base) + alibi_slopes(2 * base)[0::2][: heads - base]

class Encoder(nn.Module):
    """Local features, positions, context blocks. The teacher is a copy of this."""

    def __init__(self, spec: Spec, fused: bool):
        super().__init__()
        self.spec = spec
        self.local = {"vision": ImagePatches, "speech": WaveFeatures, "text": TokenEmbedding}[spec.modality](spec)
        self.norm = nn.LayerNorm(spec.dim, spec.eps) if spec.modality != "text" else None
        self.blocks = nn.ModuleList(Block(spec.dim, spec.heads, spec.eps, spec.drop, fused)
                                    for _ in range(spec.prenet + spec.depth))
        if spec.modality == "vision":
            self.cls = nn.Parameter(torch.randn(1, 1, spec.dim))
            self.register_buffer("grid", sincos_grid(int(math.sqrt(spec.length)), spec.dim))
        if spec.modality == "speech":
            self.wave_position = ConvStack([spec.dim] * (spec.pos_layers + 1), spec.pos_kernel, spec.pos_groups)
            self.alibi_scale = nn.Parameter(torch.ones(spec.heads))
            self.register_buffer("slopes", torch.tensor(alibi_slopes(spec.heads)))

    def bias(self, position):
        """ALiBi of the given token positions (batch, length) -> (batch, heads, length, length)."""
        if self.spec.modality != "speech":
            return None
        gap = (position[:, :, None] - position[:, None, :]).abs()
        return -(self.slopes * self.alibi_scale.clamp_min(0))[:, None, None] * gap[:, None]

    def context(self, x, bias, collect):
        """Extra token, input norm, blocks. Returns the output and the FFN outputs of the main blocks."""
        spec = self.spec
        if spec.extra:
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
        x, ffns = x if self.norm is None else F.dropout(self.norm(x), spec.drop_embed, self.training), []
        for i, block in enumerate(self.blocks):
            x, ffn = block(x, bias)
            if collect and i >= len(self.blocks) - spec.top_k:
                ffns.append(ffn[:, spec.extra:])
        return x, ffns

    def full(self, local, collect=False):
        """Unmasked pass over (batch, length, dim) local features."""
        x = local
        if self.spec.modality == "vision":
            x = x + self.grid
        if self.spec.modality == "speech":
            x = x + self.wave_position(x)
        return self.context(x, self.bias(torch.arange(x.shape[1], device=x.device)[None]), collect)

    def visible(self, local, order, masks):
        """Student pass over the visible tokens of `masks` copies; order (copies, length) lists them first."""
        spec, (batch, length, dim) = self.spec, local.shape
        keep = order[:, : spec.keep]
        if spec.modality == "vision":
            local = local + self.grid
        sample = torch.arange(batch, device=local.device).repeat_interleave(masks)[:, None]
        x = F.embedding(keep + sample * length, local.reshape(-1, dim))
        if spec.modality == "speech":  # positions see the whole sequence with the masked frames zeroed
            seen = torch.zeros(order.shape, dtype=local.dtype, device=local.device).scatter_(1, keep, 1.0)
            blanked = (local[:, None] * seen.view(batch, masks, length, 1)).view(-1, length, dim)
            rows = keep + torch.arange(order.shape[0], device=local.device)[:, None] * length
            x = x + F.embedding(rows, self.wave_position(blanked).reshape(-1, dim))
        return self.context(x, self.bias(keep), False)[0]

class Data2Vec2(nn.Module):
    """Student, decoder and EMA teacher; forward returns the loss divided by the number of masked tokens."""

    def __init__(self, spec: Spec, fused_attention: bool):
        super().__init__()
        self.spec, self.student, self.decoder = spec, Encoder(spec, fused_attention), Decoder(spec)
        for module in self.student.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
                if isinstance(module, nn.Linear):
                    nn.init.zeros_(module.bias)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        if spec.modality != "vision":
            self.teacher.local = None  # speech and text teachers read the student's local features

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self

    def ema_pairs(self):
        """(teacher, student) parameter lists that the EMA update touches."""
        source = dict(self.student.named_parameters())
        pairs = [(p, source[name]) for name, p in self.teacher.named_parameters()]
        return [list(column) for column in zip(*pairs)]

    @torch.no_grad()
    def targets(self, source, local):
        teacher = self.teacher
        ffns = teacher.full(teacher.local(source) if teacher.local is not None else local.detach(), True)[1]
        total = 0.0
        for ffn in ffns:  # instance norm: every channel over the time axis
            var, mean = torch.var_mean(ffn.float(), 1, correction=0, keepdim=True)
            total = total + (ffn - mean) * torch.rsqrt(var + 1e-5)
        y = total / len(ffns)
        return F.layer_norm(y, y.shape[-1:]) if self.spec.norm_targets else y

    def forward(self, source, order, noise):
        """order: (B*M, T) permutation, visible first; noise: (B*M, T-keep, D) stands in for masked tokens."""
        spec = self.spec
        copies, length = order.shape
        masks = copies // source.shape[0]
        local = self.student.local(source)
        y = self.targets(source, local)
        x = self.student.visible(local, order, masks)

        rows = order + torch.arange(copies, device=order.device)[:, None] * length
        seen, hidden = rows[:, : spec.keep].reshape(-1), rows[:, spec.keep:].reshape(-1)
        tokens = F.dropout(x[:, spec.extra:], spec.drop_decoder, self.training).reshape(-1, spec.dim)
        noise = noise.reshape(-1, spec.dim).to(tokens.dtype)
        grid = noise.new_empty(copies * length, spec.dim).index_copy(0, hidden, noise).index_copy(0, seen, tokens)
        pred = self.decoder(grid.view(copies, length, spec.dim), hidden)

        sample = torch.arange(source.shape[0], device=order.device).repeat_interleave(masks)[:, None]
        goal = F.embedding((order[:, spec.keep:] + sample * length).reshape(-1), y.reshape(-1, spec.dim))
        scale = 1 / math.sqrt(spec.dim) if spec.loss_scale is None else spec.loss_scale
        loss = F.mse_loss(pred.float(), goal, reduction="sum") * (scale / hidden.numel())
        if spec.cls_weight:
            cls_goal = y.mean(1).repeat_interleave(masks, 0)
            loss = loss + F.mse_loss(x[:, 0].float(), cls_goal, reduction="sum") * (scale * spec.cls_weight)
        return loss

# ------------------------------------------------------------------------------- masks, data, FLOPs
def draw_order(spec: Spec, copies: int, device) -> torch.Tensor:
    """Vectorised masks with a fixed visible count: token order per copy, visible tokens first."""
    length, score = spec.length, torch.rand(copies, spec.length, device=device)
    if spec.modality == "vision":  # inverse block masks: a few square blocks stay visible
        side, span = int(math.sqrt(length)), spec.mask_span
        count = int(length * (1 - spec.mask_prob + spec.mask_adjust) / span ** 2)
        seeds = torch.zeros(copies, length, device=device)
        seeds.scatter_(1, torch.randint(length, (copies, count), device=device), 1.0)
        score -= F.max_pool2d(seeds.view(copies, 1, side, side), span, 1, span // 2).flatten(1)
    elif spec.modality == "speech":  # spans are masked
        span = spec.mask_span
        count = int(spec.mask_prob * length / span + 0.5)
        starts = torch.rand(copies, length - span, device=device).topk(count).indices
        seeds = torch.zeros(copies, length, device=device).scatter_(1, starts, 1.0)
        score += F.max_pool1d(F.pad(seeds, (span - 1, 0)), span, 1)
    return score.argsort(1)

def make_source(spec: Spec, batch: int, device):
    if spec.modality == "vision":
        return torch.randn(batch, spec.channels, spec.image, spec.image, device=device)
    if spec.modality == "speech":
        return torch.randn(batch, spec.samples, device=device)
    return torch.randint(4, spec.vocab, (batch, spec.tokens), device=device)

def count_flops(spec: Spec, batch: int, masks: int) -> dict:
    """Multiply-adds x2 of all matrix products and convolutions; backward costs twice the forward."""
    dim, length, copies = spec.dim, spec.length, batch * masks

    def blocks(sequences, tokens):
        return (spec.prenet + spec.depth) * sequences * (24 * tokens * dim * dim + 4 * tokens * tokens * dim)

    local, first = 0, 0  # `first` layer needs no input gradient
    if spec.modality == "vision":
        local = first = 2 * batch * length * spec.channels * spec.patch ** 2 * dim
    elif spec.modality == "speech":
        n, width = spec.samples, 1
        for out, kernel, stride in spec.convs:
            n = (n - kernel) // stride + 1
            local += 2 * batch * n * kernel * width * out
            first, width = first or local, out
        local += 2 * batch * n * width * dim
    position = 2 * length * dim * (dim // spec.pos_groups) * spec.pos_kernel * spec.pos_layers
    taps = spec.dec_kernel ** (2 if spec.modality == "vision" else 1)
    widths = [dim] + [spec.dec_dim] * spec.dec_layers
    decoder = sum(2 * copies * length * a * b // spec.dec_groups * taps for a, b in zip(widths[:-1], widths[1:]))
    head = spec.dec_dim * spec.dec_hidden + spec.dec_hidden * dim if spec.dec_hidden else spec.dec_dim * dim
    head = 2 * copies * (length - spec.keep) * head
    student = blocks(copies, spec.keep + spec.extra) + copies * position
    full = blocks(batch, length + spec.extra) + batch * position
    teacher = full + (local if spec.modality == "vision" else 0)
    return dict(local=local, student_blocks=student, decoder=decoder + head, teacher=teacher, infer=local + full,
                train=3 * (local + student + decoder + head) - first + teacher)

# ------------------------------------------------------------------------------------ training step
class Trainer:
    """Owns model, fused AdamW and the EMA lists; `step` is the timed unit."""

    def __init__(self, spec, args):
        self.spec, self.args, self.device = spec, args, torch.device(args.device)
        self.copies = args.batch * args.masks
        self.model = Data2Vec2(spec, args.sdpa).to(self.device).train()
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        plain = [p for n, p in named if p.dim() <= 1 or n.endswith("bias")]
        decayed = [p for n, p in named if not (p.dim() <= 1 or n.endswith("bias"))]
        self.parameters = [p for _, p in named]
        self.optimizer = torch.optim.AdamW([dict(params=decayed, weight_decay=spec.weight_decay),
                                            dict(params=plain, weight_decay=0.0)],
                                           lr=spec.lr, betas=spec.betas, eps=spec.adam_eps, fused=True)
        self.teacher_list, self.student_list = self.model.ema_pairs()
        self.loss = self.model
        if args.compile:
            self.loss = torch.compile(self.model, dynamic=False, mode=args.compile_mode)
        self.source = make_source(spec, args.batch, self.device)

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.args.dtype == "bfloat16")

    def step(self):
        spec = self.spec
        order = draw_order(spec, self.copies, self.device)
        noise = torch.randn(self.copies, spec.length - spec.keep, spec.dim, device=self.device).mul_(spec.noise)
        self.optimizer.zero_grad(set_to_none=True)
        if self.args.compile:  # not otherwise: the call alone imports the compiler, about 2 s
            torch.compiler.cudagraph_mark_step_begin()
        with self.autocast():
            loss = self.loss(self.source, order, noise)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, spec.clip or math.inf)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.teacher_list, self.student_list, 1 - spec.ema_decay)
        self.last_loss = loss.detach().clone()

    def infer(self):
        """Embeddings of the unmasked input, as a downstream user asks for them."""
        encoder = self.model.student
        with torch.inference_mode(), self.autocast():
            return encoder.full(encoder.local(self.source))[0][:, self.spec.extra:]

def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modality", choices=SPECS, default="vision")
    parser.add_argument("--config", default=None, help="; ".join(f"{m}: {', '.join(c)}" for m, c in SPECS.items()))
    parser.add_argument("--batch", type=int, default=0, help="samples per step (default: the config's)")
    parser.add_argument("--masks", type=int, default=0, help="masked copies per sample (default: the config's)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="bfloat16 is autocast")
    parser.add_argument("--tf32", action="store_true", help="allow TF32 in float32 CUDA matrix products")
    parser.add_argument("--sdpa", action="store_true", help="scaled_dot_product_attention")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the loss (forward and backward)")
    parser.add_argument("--compile-mode", default=None, help="e.g. reduce-overhead, max-autotune-no-cudagraphs")
    parser.add_argument("--no-dropout", action="store_true", help="switch off all dropout of the config")
    parser.add_argument("--infer", action="store_true", help="time the plain feature forward instead of a step")
    for name, steps in ("--steps", 5), ("--warmup", 2):
        parser.add_argument(name, type=int, default=steps)
    parser.add_argument("--budget", type=float, default=0, metavar="SECONDS", help="stop repeating after this long")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="profile N further steps")
    parser.add_argument("--json", default=None, metavar="FILE")
    args = parser.parse_args(argv)

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.tf32:
        torch.set_float32_matmul_precision("high")
    torch.manual_seed(1)
    args.config = args.config or next(iter(SPECS[args.modality]))
    spec = SPECS[args.modality][args.config]
    if args.no_dropout:
        spec = Spec(**{**vars(spec), "drop": 0.0, "drop_embed": 0.0, "drop_decoder": 0.0})
    args.batch, args.masks = args.batch or spec.batch, args.masks or spec.masks

    trainer = Trainer(spec, args)
    run = trainer.step
    if args.infer:
        trainer.model.eval()
        run = torch.compile(trainer.infer, dynamic=False, mode=args.compile_mode) if args.compile else trainer.infer
    if args.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    seconds = measure(run, args.device, args.warmup, args.steps, args.budget)
    flops = count_flops(spec, args.batch, args.masks)
    work = flops["infer" if args.infer else "train"]
    report = dict(
        implementation="torch_data2vec2", what="infer" if args.infer else "train", modality=args.modality,
        config=args.config, batch=args.batch, masks=args.masks, tokens=spec.length, visible=spec.keep,
        threads=torch.get_num_threads(), device=args.device, dtype=args.dtype, tf32=args.tf32, sdpa=args.sdpa,
        compile=args.compile, compile_mode=args.compile_mode, dropout=not args.no_dropout, seconds=seconds,
        samples_per_s=args.batch / seconds["median"], flops=flops, flops_per_s=work / seconds["median"],
        flops_per_s_best=work / seconds["min"], import_seconds=IMPORT_SECONDS,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        parameters=sum(p.numel() for p in trainer.parameters), torch=torch.__version__, python=sys.version.split()[0],
        cpu=cpu_name())
    if not args.infer:
        report["last_loss"] = float(trainer.last_loss)
    if args.device.startswith("cuda"):
        report["gpu"] = torch.cuda.get_device_name()
        report["peak_cuda_bytes"] = torch.cuda.max_memory_allocated()
    if args.profile:
        report["top_operators"] = profile_top(run, args.device, args.profile)
    if args.json:
        json.dump(report, open(args.json, "w"), indent=1)
    print(f"{args.modality}/{args.config} {report['what']} b{args.batch} m{args.masks} t{report['threads']} "
          f"{args.device} {args.dtype} sdpa={int(args.sdpa)} compile={int(args.compile)}: "
          f"median {seconds['median'] * 1e3:.2f} ms min {seconds['min'] * 1e3:.2f} ms "
          f"cpu {seconds['cpu']['min'] * 1e3:.2f} ms, {report['samples_per_s']:.2f} samples/s, "
          f"{report['flops_per_s'] / 1e9:.1f} GFLOP/s, RSS {report['peak_rss_bytes'] / 2 ** 20:.0f} MiB")
    for row in report.get("top_operators", []):
        print(f"  {row['share'] * 100:5.1f} %  {row['ms_per_step']:9.3f} ms  {row['calls']:6.0f} x  {row['op'][:80]}")
    return report

if __name__ == "__main__":
    main()
