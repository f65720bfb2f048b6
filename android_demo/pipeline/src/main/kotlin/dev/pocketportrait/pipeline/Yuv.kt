package dev.pocketportrait.pipeline

import java.nio.ByteBuffer

/** One plane of a YUV_420_888 picture: bytes between rows and between samples, as the producer lays them out. */
class YuvPlane(val bytes: ByteBuffer, val rowStride: Int, val pixelStride: Int)

/**
 * How luma and chroma make red, green and blue.
 *
 * @param kr weight of red in luma.
 * @param kb weight of blue in luma.
 * @param fullRange luma 0..255, else 16..235 and chroma 16..240.
 */
class YuvMatrix(kr: Double, kb: Double, fullRange: Boolean) {
    private val chroma = if (fullRange) 1.0 else 255.0 / 224.0

    // what each of the 256 levels of a plane adds, once for all frames
    internal val light = if (fullRange) levels(0.0, 1.0) else levels(16.0, 255.0 / 219.0)
    internal val redOfV = levels(128.0, 2 * (1 - kr) * chroma)
    internal val blueOfU = levels(128.0, 2 * (1 - kb) * chroma)
    internal val greenOfV = levels(128.0, -2 * kr * (1 - kr) / (1 - kr - kb) * chroma)
    internal val greenOfU = levels(128.0, -2 * kb * (1 - kb) / (1 - kr - kb) * chroma)

    private fun levels(start: Double, factor: Double) = DoubleArray(256) { (it - start) * factor }

    companion object {
        /** What cameras give (JFIF): BT.601, full range. */
        val CAMERA = YuvMatrix(0.299, 0.114, fullRange = true)

        /** What decoders give of most files: BT.601, limited range. */
        val BT601 = YuvMatrix(0.299, 0.114, fullRange = false)

        /** What decoders give of HD files: BT.709, limited range. */
        val BT709 = YuvMatrix(0.2126, 0.0722, fullRange = false)
    }
}

/**
 * Returns a YUV_420_888 picture as RGB; each chroma sample serves its 2 x 2 pixels.
 *
 * @param width of the luma plane, in pixels.
 * @param height of the luma plane, in pixels.
 * @param reuse a picture whose memory may be overwritten; taken if its size fits.
 * @throws InputError a plane is shorter than its strides and the size say.
 */
fun rgbOf(y: YuvPlane, u: YuvPlane, v: YuvPlane, width: Int, height: Int, matrix: YuvMatrix = YuvMatrix.CAMERA, reuse: Picture? = null): Picture {
    checkLength("Y", y, width, height)
    checkLength("U", u, (width + 1) / 2, (height + 1) / 2)
    checkLength("V", v, (width + 1) / 2, (height + 1) / 2)
    val picture = Picture.blank(width, height, reuse)
    var at = 0
    for (row in 0 until height) {
        at = convertRow(y, u, v, row, matrix, picture, at)
    }
    return picture
}

private fun convertRow(y: YuvPlane, u: YuvPlane, v: YuvPlane, row: Int, matrix: YuvMatrix, picture: Picture, start: Int): Int {
    val out = picture.rgb
    var at = start
    var red = 0.0
    var greenOfU = 0.0
    var greenOfV = 0.0
    var blue = 0.0
    for (column in 0 until picture.width) {
        if (column % 2 == 0) { // two columns share what the chroma planes add
            val blueness = sample(u, row / 2, column / 2)
            val redness = sample(v, row / 2, column / 2)
            red = matrix.redOfV[redness]
            greenOfU = matrix.greenOfU[blueness]
            greenOfV = matrix.greenOfV[redness]
            blue = matrix.blueOfU[blueness]
        }
        val light = matrix.light[sample(y, row, column)]
        out[at++] = toByte(light + red)
        out[at++] = toByte(light + greenOfU + greenOfV)
        out[at++] = toByte(light + blue)
    }
    return at
}

private fun sample(plane: YuvPlane, row: Int, column: Int): Int =
    plane.bytes.get(row * plane.rowStride + column * plane.pixelStride).toInt() and 0xff

private fun checkLength(name: String, plane: YuvPlane, width: Int, height: Int) {
    // the last row may end with its last sample, without the stride's padding
    val want = (height - 1) * plane.rowStride + (width - 1) * plane.pixelStride + 1
    if (plane.bytes.limit() < want) throw InputError("$name plane: want $want bytes, got ${plane.bytes.limit()}; the frame is dropped")
}
