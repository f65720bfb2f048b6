package dev.pocketportrait.pipeline

/** How a driver's motion is carried over to another face. */
enum class Motion { RELATIVE, ABSOLUTE }

/**
 * Turns driving codes into the codes that the renderer is given.
 *
 * Absolute: the face takes the driver's pose and expression as they are. Relative: it takes their change
 * since the neutral code, on top of its own.
 */
class MotionTransfer(val motion: Motion = Motion.RELATIVE) {
    private var source: FloatArray? = null
    private var neutral: FloatArray? = null

    /** Takes the photo's own code. */
    fun setSource(code: FloatArray) {
        source = code.copyOf()
    }

    /** Forgets the neutral code; the next driving code becomes it. */
    fun resetNeutral() {
        neutral = null
    }

    /** Moves the neutral code, because the crop in which the driver is seen was moved. */
    fun moveNeutral(change: FloatArray) {
        neutral?.let { code -> for (k in change.indices) code[k] += change[k] }
    }

    /** Returns what the renderer is given for a driving code. */
    fun apply(driving: FloatArray): FloatArray {
        val own = checkNotNull(source) { "set the source first" }
        require(driving.size == own.size) { "want a code of ${own.size}, got ${driving.size}" }
        if (motion == Motion.ABSOLUTE) return driving.copyOf()
        val start = neutral ?: driving.copyOf().also { neutral = it }
        return FloatArray(own.size) { own[it] + (driving[it] - start[it]) }
    }
}
