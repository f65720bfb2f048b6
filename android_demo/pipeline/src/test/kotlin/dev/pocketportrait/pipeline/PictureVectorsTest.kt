package dev.pocketportrait.pipeline

import java.nio.ByteBuffer
import kotlin.math.abs
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** Pictures: the same arrays as in Python give the same results. */
class PictureVectorsTest {
    private val matrices = mapOf("camera" to YuvMatrix.CAMERA, "bt601" to YuvMatrix.BT601, "bt709" to YuvMatrix.BT709)

    @Test
    fun `planes with any strides give the pixels that Python gives`() {
        val cases = Vectors.cases("yuv")
        assertTrue(cases.size >= 4)
        for (case in cases) {
            val name = case.text("name")
            fun plane(of: String) = YuvPlane(Vectors.buffer("$name.$of"), case.int("${of}_row"), case.int("${of}_pixel"))
            val got = rgbOf(plane("y"), plane("u"), plane("v"), case.int("width"), case.int("height"), matrices.getValue(case.text("matrix")))
            assertArrayEquals(name, Vectors.bytes("$name.rgb"), got.rgb)
        }
    }

    @Test
    fun `red of the chroma plane V becomes the first channel`() {
        fun plane(value: Int) = YuvPlane(ByteBuffer.wrap(byteArrayOf(value.toByte())), 1, 1)
        val pixel = rgbOf(plane(100), plane(128), plane(200), 1, 1).rgb.map { it.toInt() and 0xff }
        assertTrue("$pixel", pixel[0] > 190 && pixel[2] == 100)
    }

    @Test
    fun `a plane that is too short is refused`() {
        val short = YuvPlane(ByteBuffer.allocate(7), 4, 1)
        val chroma = YuvPlane(ByteBuffer.allocate(2), 2, 1)
        assertTrue(refusal { rgbOf(short, chroma, chroma, 4, 2) }.startsWith("Y plane: want 8 bytes, got 7"))
    }

    @Test
    fun `turned and mirrored pictures are those of Python`() {
        for (degrees in listOf(0, 90, 180, 270)) {
            for (mirror in listOf(false, true)) {
                val got = Vectors.picture("orient.in").oriented(degrees, mirror)
                val want = Vectors.picture("orient.$degrees.$mirror")
                assertEquals(want.width to want.height, got.width to got.height)
                assertArrayEquals("$degrees $mirror", want.rgb, got.rgb)
            }
        }
    }

    @Test
    fun `crops are those of Python, exact when they shrink and within two levels when they enlarge`() {
        for (case in Vectors.cases("cut")) {
            val crop = SquareCrop(case.number("x"), case.number("y"), case.number("side"))
            val got = cut(Vectors.picture("cut.in"), crop, case.int("out"))
            val want = Vectors.bytes("cut.${case.text("name")}")
            val worst = want.indices.maxOf { abs((want[it].toInt() and 0xff) - (got.rgb[it].toInt() and 0xff)) }
            assertTrue("${case.text("name")}: $worst", worst <= if (crop.side >= case.int("out")) 0 else 2)
        }
    }

    @Test
    fun `a picture becomes the tensor that Python makes of it, and comes back`() {
        val picture = Vectors.picture("tensor.in")
        val spec = TensorSpec("photo", listOf(1, 3, picture.height, picture.width), low = 0.0, high = 1.0)
        val tensor = picture.toTensor(spec)
        assertArrayEquals(Vectors.tensor("tensor.nchw").floats(), tensor, 0f)
        assertArrayEquals(picture.rgb, Picture.ofTensor(tensor, spec).rgb)
        val last = spec.copy(shape = listOf(1, picture.height, picture.width, 3), layout = NHWC)
        assertArrayEquals(picture.toTensor(last), converted(tensor, spec, last), 0f)
        assertArrayEquals(tensor, converted(picture.toTensor(last), last, spec), 0f)
    }

    @Test
    fun `a tensor of pixels 0 to 255 is refused with the reason`() {
        val spec = TensorSpec("frame", listOf(1, 3, 1, 1), low = 0.0, high = 1.0)
        assertTrue(refusal { spec.check(floatArrayOf(0f, 128f, 255f)) }.endsWith("pixels are 0..1, not 0..255"))
        assertTrue(refusal { spec.check(floatArrayOf(0f, Float.NaN, 0f)) }.contains("finite"))
    }

    @Test
    fun `faces are framed as Python frames them`() {
        for (case in Vectors.cases("face")) {
            val (left, top, right, bottom) = case.numbers("box")
            val got = cropForFace(FaceBox(left, top, right, bottom), case.int("width"), case.int("height"))
            val want = case.numbers("crop")
            assertArrayEquals(want.toDoubleArray(), doubleArrayOf(got.x, got.y, got.side), 1e-9)
        }
    }

    @Test
    fun `a film is told to be made as the Python package tells it`() {
        assertArrayEquals(Vectors.bytes("source_type"), sourceTypeBox())
    }
}
