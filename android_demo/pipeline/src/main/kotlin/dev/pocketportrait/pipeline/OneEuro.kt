package dev.pocketportrait.pipeline

import kotlin.math.PI
import kotlin.math.abs

/**
 * The 1 Euro filter (Casiez, Roussel, Vogel 2012): still when the input is slow, prompt when it is fast.
 *
 * @param minCutoffHz cutoff of an input at rest; lower means stiller.
 * @param beta how much the cutoff rises with speed, in Hz per unit and second; higher means prompter.
 * @param speedCutoffHz cutoff of the speed itself.
 */
class OneEuro(private val minCutoffHz: Double = 1.0, private val beta: Double = 0.0, private val speedCutoffHz: Double = 1.0) {
    private var value = Double.NaN
    private var speed = 0.0
    private var timeS = 0.0

    /**
     * Returns the smoothed value.
     *
     * @param raw the input.
     * @param nowS its time in seconds; a time that does not advance changes nothing.
     */
    fun smooth(raw: Double, nowS: Double): Double {
        val passedS = nowS - timeS
        if (value.isNaN()) {
            value = raw
            timeS = nowS
        } else if (passedS > 0) {
            speed += weight(speedCutoffHz, passedS) * ((raw - value) / passedS - speed)
            value += weight(minCutoffHz + beta * abs(speed), passedS) * (raw - value)
            timeS = nowS
        }
        return value
    }

    /** Forgets everything; the next value is taken as it is. */
    fun reset() {
        value = Double.NaN
        speed = 0.0
    }

    private fun weight(cutoffHz: Double, passedS: Double): Double = 1 / (1 + 1 / (2 * PI * cutoffHz * passedS))
}
