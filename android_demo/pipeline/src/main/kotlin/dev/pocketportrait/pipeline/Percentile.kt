package dev.pocketportrait.pipeline

import kotlin.math.floor

/**
 * Returns a percentile with linear interpolation, as NumPy's default.
 *
 * @param values at least one, in any order.
 * @param percent 0..100.
 */
fun percentile(values: List<Double>, percent: Double): Double {
    require(values.isNotEmpty() && percent in 0.0..100.0) { "want values and 0..100, got ${values.size} and $percent" }
    val sorted = values.sorted()
    val place = percent / 100 * (sorted.size - 1)
    val below = floor(place).toInt().coerceAtMost(sorted.size - 1)
    val above = minOf(below + 1, sorted.size - 1)
    val part = place - below
    val span = sorted[above] - sorted[below]
    return if (part < 0.5) sorted[below] + span * part else sorted[above] - span * (1 - part)
}

/** Percentiles of [repeats] calls that followed [warmup] calls nobody counted. */
data class Timing(val p50Ms: Double, val p90Ms: Double, val p95Ms: Double, val p99Ms: Double, val warmup: Int, val repeats: Int) {
    /** Returns the record's fields. */
    fun fields(): Map<String, Any?> = linkedMapOf(
        "p50_ms" to p50Ms,
        "p90_ms" to p90Ms,
        "p95_ms" to p95Ms,
        "p99_ms" to p99Ms,
        "warmup" to warmup,
        "repeats" to repeats,
    )

    companion object {
        /**
         * Returns the percentiles of durations; the first [warmup] of them are left out.
         *
         * @throws InputError nothing is left to take a percentile of.
         */
        fun of(durationsMs: List<Double>, warmup: Int = 0): Timing {
            val timed = durationsMs.drop(warmup)
            if (timed.isEmpty()) throw InputError("latency: want more than $warmup calls (the warm-up), got ${durationsMs.size}")
            val (p50, p90, p95, p99) = listOf(50.0, 90.0, 95.0, 99.0).map { percentile(timed, it) }
            return Timing(p50, p90, p95, p99, warmup, timed.size)
        }
    }
}
