// SPDX-License-Identifier: MIT
// The whole library for the CPU. Files, data sets and codecs are in data2vec/io/ and data2vec/data/.
#pragma once

#include <data2vec/decoder/conv1d.hpp>
#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/decoder/cross_attention.hpp>
#include <data2vec/decoder/linear.hpp>
#include <data2vec/decoder/pixel.hpp>
#include <data2vec/decoder/regression_head.hpp>
#include <data2vec/decoder/transformer.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/masking/bert.hpp>
#include <data2vec/masking/beit_block.hpp>
#include <data2vec/masking/block.hpp>
#include <data2vec/masking/random.hpp>
#include <data2vec/masking/span.hpp>
#include <data2vec/modality/speech.hpp>
#include <data2vec/modality/text.hpp>
#include <data2vec/modality/vision.hpp>
#include <data2vec/objective/data2vec1.hpp>
#include <data2vec/objective/data2vec2.hpp>
#include <data2vec/objective/mae.hpp>
#include <data2vec/objective/models.hpp>
#include <data2vec/objective/roberta.hpp>
#include <data2vec/objective/wav2vec2.hpp>
#include <data2vec/training/recipes.hpp>
#include <data2vec/training/trainer.hpp>
#include <data2vec/version.hpp>
