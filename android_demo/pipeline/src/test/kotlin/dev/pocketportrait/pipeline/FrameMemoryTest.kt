package dev.pocketportrait.pipeline

import com.sun.management.ThreadMXBean
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import kotlin.random.Random
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertTrue
import org.junit.Test

private const val WIDTH = 640
private const val HEIGHT = 480
private const val SMALL_BYTES = 4096L // objects of a few fields; the smallest picture on the way has 196,608 bytes

/** What happens to every frame of a camera happens in memory that is kept, and gives what new memory gives. */
class FrameMemoryTest {
    private val spec = TensorSpec("frame", listOf(1, 3, SIDE_PX, SIDE_PX), low = 0.0, high = 1.0)
    private val last = spec.copy(shape = listOf(1, SIDE_PX, SIDE_PX, 3), layout = NHWC)
    private val crops = listOf(SquareCrop(3.5, 20.25, 411.5), SquareCrop(40.0, 90.0, 200.0), SquareCrop(-9.0, 300.0, 480.0))

    /** What of a frame is kept for the next. */
    private inner class Kept(private val cutter: Cutter = Cutter()) {
        private var seen: Picture? = null
        private var upright: Picture? = null
        private var square: Picture? = null
        private var tensor: FloatArray? = null
        private var turned: FloatArray? = null
        private var drawn: Picture? = null

        fun pass(frame: Frame, crop: SquareCrop): Picture {
            val rgb = rgbOf(frame.y, frame.u, frame.v, WIDTH, HEIGHT, YuvMatrix.CAMERA, seen).also { seen = it }
            val whole = rgb.oriented(270, mirror = true, upright).also { upright = it }
            val cut = cutter.cut(whole, crop, square).also { square = it }
            val values = cut.toTensor(spec, tensor).also { tensor = it }
            val nhwc = converted(values, spec, last, turned).also { turned = it }
            return Picture.ofTensor(nhwc, last, drawn).also { drawn = it }
        }
    }

    private class Frame(seed: Int) {
        val y = plane(seed, WIDTH, HEIGHT)
        val u = plane(seed + 1, WIDTH / 2, HEIGHT / 2)
        val v = plane(seed + 2, WIDTH / 2, HEIGHT / 2)

        private fun plane(seed: Int, width: Int, height: Int) = YuvPlane(ByteBuffer.wrap(Random(seed).nextBytes(width * height)), width, 1)
    }

    @Test
    fun `frames after the first take no memory for pictures or tensors`() {
        val kept = Kept()
        val frame = Frame(1)
        repeat(2) { kept.pass(frame, crops[0]) }
        val bean = ManagementFactory.getThreadMXBean() as ThreadMXBean
        val before = bean.currentThreadAllocatedBytes
        repeat(10) { kept.pass(frame, crops[0]) }
        val bytes = (bean.currentThreadAllocatedBytes - before) / 10
        assertTrue("$bytes bytes a frame", bytes in 0..SMALL_BYTES)
    }

    @Test
    fun `memory that is kept changes no pixel`() {
        val kept = Kept()
        for ((number, crop) in crops.withIndex()) {
            val frame = Frame(10 * number)
            assertArrayEquals("$crop", Kept().pass(frame, crop).rgb, kept.pass(frame, crop).rgb)
        }
    }
}
