from __future__ import annotations

import numpy as np
import pytest
import torch

from foreact.evaluation import metrics

K, S, N, C = 5, 2, 7, 3


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(batch: int, size: int = 23, seed: int = 0) -> torch.Tensor:
    return torch.rand((batch, size, size + 2, 3), generator=torch.Generator().manual_seed(seed))


def ssim_twin(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of one channel, an 11 x 11 window at every position of the mirrored image."""
    size = a.shape
    a, b = (np.pad(image, 5, mode="reflect") for image in (a, b))
    x = np.arange(11) - 5
    kernel = np.exp(-(x**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    window = np.outer(kernel, kernel)
    c1, c2, values = 0.01**2, 0.03**2, []
    for i in range(size[0]):
        for j in range(size[1]):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq, cov = (
                (window * p * p).sum() - mp**2,
                (window * q * q).sum() - mq**2,
                (window * p * q).sum() - mp * mq,
            )
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_identical_frames():
    tokens, images = noise(K, N, C), pictures(3)
    assert metrics.token_l1(tokens, tokens).eq(0).all()
    assert metrics.token_cosine(tokens, tokens).numpy() == pytest.approx(np.ones(K), abs=1e-6)
    assert metrics.psnr(images, images).tolist() == [metrics.MAX_PSNR] * 3
    assert metrics.ssim(images, images).numpy() == pytest.approx(np.ones(3), abs=1e-6)


def test_token_metrics_agree_with_numpy():
    predicted, target = noise(K, S, N, C), noise(S, N, C, seed=1)
    p, t = predicted.double().numpy(), target.double().numpy()
    cosine = (p * t).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(t, axis=-1)
    assert metrics.token_l1(predicted, target).numpy() == pytest.approx(np.abs(p - t).mean((-2, -1)), rel=1e-5)
    assert metrics.token_cosine(predicted, target).numpy() == pytest.approx(cosine.mean(-1), abs=1e-5)


def test_image_metrics_agree_with_numpy_image_by_image():
    images = pictures(2)
    target = (0.7 * images + 0.3 * pictures(2, seed=1)).clamp(0, 1)
    a, b = images.double().numpy(), target.double().numpy()
    expected = [np.mean([ssim_twin(a[i, ..., c], b[i, ..., c]) for c in range(3)]) for i in range(2)]
    assert metrics.ssim(images, target).numpy() == pytest.approx(expected, abs=1e-4)
    expected = [10 * np.log10(1 / ((a[i] - b[i]) ** 2).mean()) for i in range(2)]
    assert metrics.psnr(images, target).numpy() == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_one_image_keeps_its_axis():
    images = pictures(1)
    assert metrics.ssim(images, images).shape == metrics.psnr(images, images).shape == (1,)


def test_energy_score_agrees_with_numpy():
    samples, target = noise(K, S, N, C), noise(S, N, C, seed=1)
    x, y = samples.double().numpy(), target.double().numpy()
    expected = []
    for s in range(S):
        d = lambda a, b: np.linalg.norm(a - b) / np.sqrt(N * C)  # noqa: E731
        error = np.mean([d(x[k, s], y[s]) for k in range(K)])
        spread = np.mean([d(x[k, s], x[j, s]) for k in range(K) for j in range(K) if j != k])
        expected.append(error - spread / 2)
    assert metrics.energy_score(samples, target).numpy() == pytest.approx(expected, rel=1e-5)


def test_the_local_energy_score_is_that_of_each_token_and_sees_where_samples_spread():
    samples, target = noise(K, S, N, C), noise(S, N, C, seed=1)
    each = [metrics.energy_score(samples[:, :, [n]], target[:, [n]]) for n in range(N)]
    torch.testing.assert_close(metrics.local_energy_score(samples, target), torch.stack(each).mean(dim=0))
    truth = torch.zeros(200, 2, C)
    truth[:, 0] = noise(200, C)  # the first of two tokens is uncertain
    right, wrong = torch.zeros(2, 4, 200, 2, C)
    right[:, :, 0] = wrong[:, :, 1] = noise(4, 200, C, seed=2)
    local, joint = metrics.local_energy_score, metrics.energy_score
    assert local(right, truth).mean() < 0.6 * local(wrong, truth).mean()
    assert joint(right, truth).mean() < joint(wrong, truth).mean()


def test_energy_score_of_one_sample_is_its_distance():
    sample, target = noise(1, N, C), noise(N, C, seed=1)
    expected = (sample[0] - target).square().mean().sqrt()
    assert metrics.energy_score(sample, target) == pytest.approx(float(expected))


def test_energy_score_prefers_the_true_distribution_to_its_mean_and_to_collapsed_samples_where_l1_does_not():
    rng = torch.Generator().manual_seed(0)
    scores, errors = {}, {}
    truth = torch.randn((400, N, C), generator=rng).sign()  # two-sided: the mean is a future that never happens
    forecasts = {
        "true": torch.randn((K, 400, N, C), generator=rng).sign(),
        "mean": torch.zeros(1, 400, N, C),
        "collapsed": torch.randn((1, 400, N, C), generator=rng).sign().expand(K, -1, -1, -1),
    }
    for name, samples in forecasts.items():
        scores[name] = float(metrics.energy_score(samples, truth).mean())
        errors[name] = float(metrics.token_l1(samples, truth).mean())
    assert scores["true"] < scores["mean"] < scores["collapsed"]
    assert errors["mean"] == pytest.approx(errors["true"], abs=0.05)


def test_sharpness_of_truth_is_one_of_persistence_zero_and_of_half_the_motion_a_quarter():
    start, target = noise(N, C), noise(N, C, seed=1)
    for predicted, expected in ((target, 1.0), (start, 0.0), ((start + target) / 2, 0.25)):
        dream, truth = metrics.motion_energy(predicted, target, start)
        assert float(dream / truth) == pytest.approx(expected, abs=1e-6)


def test_moving_sharpness_counts_tokens_that_move_in_truth_or_prediction():
    start = torch.zeros(4, C)
    target, predicted = start.clone(), start.clone()
    target[0] = 3.0  # moves in the truth only
    predicted[1] = 2.0  # moves in the prediction only
    predicted[2] = 0.5  # noise below the threshold
    dream, truth = metrics.motion_energy(predicted, target, start, threshold=1.0)
    assert (float(dream), float(truth)) == (4.0, 9.0)


def test_motion_energy_broadcasts_over_samples():
    dream, truth = metrics.motion_energy(noise(K, S, N, C), noise(S, N, C, seed=1), noise(N, C, seed=2))
    assert dream.shape == truth.shape == (K, S)


def test_lpips_is_refused_with_a_reason_and_without_a_download(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    metric, reason = metrics.load_lpips(torch.device("cpu"))
    assert metric is None
    assert metrics.LPIPS_WEIGHTS in reason
    assert str(tmp_path) not in reason


@pytest.mark.parametrize(
    ("name", "label", "better"),
    [
        ("ssim", "SSIM", "higher"),
        ("block_error_px", "block error (px)", "lower"),
        ("left_arm_error_deg_best_of_k", "left arm error (degrees), best of K", "lower"),
        ("new_metric", "new metric", "lower"),
    ],
)
def test_descriptions(name, label, better):
    assert (metrics.describe(name).label, metrics.describe(name).better) == (label, better)
