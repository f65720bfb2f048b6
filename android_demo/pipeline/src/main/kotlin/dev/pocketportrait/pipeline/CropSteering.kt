package dev.pocketportrait.pipeline

import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.sign

// Places of tx, ty and log scale in the pose slice.
private const val TX = 3
private const val TY = 4
private const val LOG_SCALE = 5

private const val FREE_SIDES = 0.12 // how far the head may be from its place before the crop follows
private const val FREE_LOG_SCALE = 0.2
private const val RATE_PER_S = 1.5 // of what lies beyond, a second
private const val SETTLE_S = 1.0

/**
 * The crop of a live camera: it follows the head for the first second, then only a head that leaves its place.
 *
 * A crop that followed always would hide the head's own motion. What the crop moves is returned as a change of
 * the pose, by which the neutral code is moved too, so that the picture does not jump.
 *
 * @param guide where the oval asks the face to be.
 */
class CropSteering(guide: SquareCrop, private val width: Int, private val height: Int) {
    private val guideSide = guide.side
    private val smoothing = List(3) { OneEuro(minCutoffHz = 1.5, beta = 0.5) }
    private var startS = Double.NaN
    private var lastS = Double.NaN

    /** The crop for the next frame. */
    var crop: SquareCrop = guide
        private set

    /** Whether the first second is over. */
    var settled = false
        private set

    /**
     * Takes the pose of the face in [crop] and moves the crop.
     *
     * @param pose the code's pose slice: tx, ty in sides of the crop from its centre, log scale.
     * @param nowS the frame's time in seconds.
     * @return what the move adds to the pose of a head that stays where it is, six numbers.
     */
    fun update(pose: FloatArray, nowS: Double): FloatArray {
        if (startS.isNaN()) startS = nowS
        val passedS = if (lastS.isNaN()) 0.0 else (nowS - lastS).coerceIn(0.0, 0.2)
        lastS = nowS
        settled = nowS - startS >= SETTLE_S
        val (x, y, scale) = listOf(TX, TY, LOG_SCALE).mapIndexed { k, at -> smoothing[k].smooth(pose[at].toDouble(), nowS) }
        val part = RATE_PER_S * passedS
        return move(part * beyond(x, FREE_SIDES), part * beyond(y, FREE_SIDES), part * beyond(scale, FREE_LOG_SCALE))
    }

    private fun beyond(value: Double, free: Double): Double = if (settled) sign(value) * maxOf(abs(value) - free, 0.0) else value

    private fun move(right: Double, down: Double, log: Double): FloatArray {
        val side = (crop.side * exp(log)).coerceIn(guideSide / 2, minOf(width, height).toDouble())
        val x = (crop.x + crop.side / 2 + right * crop.side).coerceIn(side / 2, width - side / 2) - side / 2
        val y = (crop.y + crop.side / 2 + down * crop.side).coerceIn(side / 2, height - side / 2) - side / 2
        val change = FloatArray(6)
        change[TX] = -((x + side / 2 - crop.x - crop.side / 2) / side).toFloat()
        change[TY] = -((y + side / 2 - crop.y - crop.side / 2) / side).toFloat()
        change[LOG_SCALE] = ln(crop.side / side).toFloat()
        crop = SquareCrop(x, y, side)
        return change
    }
}
