package dev.pocketportrait.pipeline

import kotlin.concurrent.thread
import kotlin.math.abs
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test

/** What runs while the camera does: pacing, and the crop that is steered. */
class LiveTest {
    @Test
    fun `a newer frame replaces one that nobody took, and its memory is given back`() {
        val given = ArrayList<Int>()
        val slot = LatestFrame<Int>(given::add)
        (1..3).forEach(slot::put)
        assertEquals(3, slot.take())
        assertEquals(listOf(1, 2), given)
        assertEquals(3L to 2L, slot.offered to slot.dropped)
        slot.put(4)
        slot.close()
        slot.put(5)
        assertEquals(listOf(1, 2, 4, 5), given)
        assertNull(slot.take())
    }

    @Test
    fun `who waits for a frame gets it, and is let go when it ends`() {
        val slot = LatestFrame<Int>()
        val taken = ArrayList<Int?>()
        val worker = thread { repeat(2) { taken.add(slot.take()) } }
        slot.put(7)
        while (taken.isEmpty() && worker.isAlive) Thread.sleep(1)
        slot.close()
        worker.join(5_000)
        assertEquals(listOf(7, null), taken)
    }

    @Test
    fun `frames a second are counted over the window`() {
        val clock = FrameClock(window = 4)
        assertEquals(0.0, clock.framesPerSecond, 0.0)
        (0..9).forEach { clock.tick(it * 0.05, 10.0 + it) }
        assertEquals(20.0, clock.framesPerSecond, 1e-9)
        assertEquals(17.5, clock.medianMs, 1e-9)
    }

    @Test
    fun `in the first second the crop goes to the head, and the pose that the move takes away is told`() {
        val steering = CropSteering(SquareCrop(160.0, 80.0, 320.0), 640, 480)
        val head = Triple(400.0, 230.0, 300.0) // its place and the size of its nominal crop, in the frame
        val neutral = FloatArray(6)
        var first: FloatArray? = null
        var last = FloatArray(6)
        for (k in 0 until 60) {
            last = poseIn(steering.crop, head)
            if (first == null) first = last.copyOf().also { it.copyInto(neutral) }
            steering.update(last, k / 30.0).forEachIndexed { at, change -> neutral[at] += change }
        }
        assertTrue(steering.settled)
        assertTrue("${steering.crop}", abs(steering.crop.x + steering.crop.side / 2 - 400) < 45)
        // a head that rests must not move the picture: driving - neutral stays as it was at the start
        val moved = poseIn(steering.crop, head)
        assertArrayEquals(FloatArray(6), FloatArray(6) { moved[it] - neutral[it] }, 0.02f)
    }

    @Test
    fun `later a head near its place does not move the crop, and one that leaves does`() {
        val steering = CropSteering(SquareCrop(160.0, 80.0, 320.0), 640, 480)
        for (k in 0..40) steering.update(FloatArray(6), k / 30.0)
        val rest = steering.crop
        for (k in 41..80) steering.update(floatArrayOf(0f, 0f, 0f, 0.1f, -0.1f, 0.1f), k / 30.0)
        assertEquals(rest, steering.crop)
        for (k in 81..120) steering.update(floatArrayOf(0f, 0f, 0f, 0.3f, 0f, 0f), k / 30.0)
        assertTrue("${steering.crop}", steering.crop.x > rest.x + 10 && steering.crop.y == rest.y)
    }

    @Test
    fun `the crop never leaves the frame`() {
        val steering = CropSteering(SquareCrop(160.0, 80.0, 320.0), 640, 480)
        for (k in 0..300) steering.update(floatArrayOf(0f, 0f, 0f, 0.5f, 0.5f, 1f), k / 30.0)
        val crop = steering.crop
        assertTrue("$crop", crop.x >= 0 && crop.y >= 0 && crop.x + crop.side <= 640.001 && crop.y + crop.side <= 480.001)
    }

    private fun poseIn(crop: SquareCrop, head: Triple<Double, Double, Double>): FloatArray {
        val pose = FloatArray(6)
        pose[3] = ((head.first - crop.x) / crop.side - 0.5).toFloat()
        pose[4] = ((head.second - crop.y) / crop.side - 0.5).toFloat()
        pose[5] = kotlin.math.ln(head.third / crop.side).toFloat()
        return pose
    }
}
