package dev.pocketportrait.demo

import android.media.Image
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.YuvMatrix
import dev.pocketportrait.pipeline.YuvPlane
import dev.pocketportrait.pipeline.rgbOf

/** One frame of a driver; made into pixels only if somebody takes it. */
class DriverFrame(val timeS: Double, private val make: () -> Picture, private val free: () -> Unit = {}) : AutoCloseable {
    /** Returns the frame, upright. */
    fun picture(): Picture = make()

    override fun close() = free()
}

/** Who drives: it gives frames to whom it was made with, until it is closed. */
interface DriverSource : AutoCloseable {
    /** Whether a person moves freely in front of it, so that the crop has to follow. */
    val isLive: Boolean

    fun start()
}

/** Returns the pixels of a YUV_420_888 image. */
fun pixelsOf(image: Image, matrix: YuvMatrix): Picture {
    val (y, u, v) = image.planes.map { YuvPlane(it.buffer, it.rowStride, it.pixelStride) }
    return rgbOf(y, u, v, image.width, image.height, matrix)
}
