package dev.pocketportrait.pipeline

import kotlin.math.abs
import kotlin.math.log10
import kotlin.math.max
import kotlin.math.min
import kotlin.math.sqrt

/** How far a candidate is from its reference; exact parity has an infinite [psnrDb], NaN an infinite [maxAbs]. */
data class Parity(val maxAbs: Double, val psnrDb: Double, val cosine: Double) {
    companion object {
        /**
         * Compares two tensors of one shape, in float64.
         *
         * @param peak of the PSNR: 1.0 for images; by default the reference's max - min.
         * @throws InputError sizes differ, or the reference is empty or not finite.
         */
        fun of(reference: DoubleArray, candidate: FloatArray, peak: Double? = null): Parity {
            if (reference.size != candidate.size) throw InputError("parity: want equal sizes, got ${reference.size} and ${candidate.size}; convert the layout first")
            if (reference.isEmpty() || reference.any { !it.isFinite() }) throw InputError("parity: want a finite reference that is not empty; export it again")
            if (candidate.any { !it.isFinite() }) return Parity(Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 0.0)
            val sums = Sums()
            for (k in reference.indices) sums.add(reference[k], candidate[k].toDouble())
            return Parity(sums.maxAbs, psnrDb(sums.square / reference.size, peak ?: sums.peak), sums.cosine)
        }

        private fun psnrDb(meanSquare: Double, peak: Double): Double =
            if (meanSquare == 0.0) Double.POSITIVE_INFINITY else 20 * log10(peak) - 10 * log10(meanSquare)
    }
}

private class Sums {
    var maxAbs = 0.0
    var square = 0.0
    private var dot = 0.0
    private var wanted = 0.0
    private var given = 0.0
    private var low = Double.POSITIVE_INFINITY
    private var high = Double.NEGATIVE_INFINITY

    fun add(want: Double, got: Double) {
        val difference = got - want
        maxAbs = max(maxAbs, abs(difference))
        square += difference * difference
        dot += want * got
        wanted += want * want
        given += got * got
        low = min(low, want)
        high = max(high, want)
    }

    /** Max - min, or for a constant tensor what its size lets us compare with. */
    val peak: Double get() = listOf(high - low, max(abs(low), abs(high)), 1.0).first { it != 0.0 }

    val cosine: Double
        get() {
            val lengths = sqrt(wanted) * sqrt(given)
            return if (lengths == 0.0) (if (maxAbs == 0.0) 1.0 else 0.0) else (dot / lengths).coerceIn(-1.0, 1.0)
        }
}
