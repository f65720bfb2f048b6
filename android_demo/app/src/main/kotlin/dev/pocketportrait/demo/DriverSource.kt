package dev.pocketportrait.demo

import android.media.Image
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.YuvMatrix
import dev.pocketportrait.pipeline.YuvPlane
import dev.pocketportrait.pipeline.rgbOf

/** One frame of a driver; made into pixels only if somebody takes it. */
class DriverFrame(val timeS: Double, private val make: () -> Picture, private val free: () -> Unit) : AutoCloseable {
    /** Returns the frame, upright; its memory is the driver's, which takes it back when the frame is closed. */
    fun picture(): Picture = make()

    override fun close() = free()
}

/** Who drives: it gives frames to whom it was made with, until it is closed. */
interface DriverSource : AutoCloseable {
    /** Starts; returns at once. */
    fun start()
}

/** Returns the pixels of a YUV_420_888 image; [reuse] is a picture whose memory may be overwritten. */
fun pixelsOf(image: Image, matrix: YuvMatrix, reuse: Picture?): Picture {
    val planes = image.planes
    return rgbOf(planeOf(planes[0]), planeOf(planes[1]), planeOf(planes[2]), image.width, image.height, matrix, reuse)
}

private fun planeOf(plane: Image.Plane) = YuvPlane(plane.buffer, plane.rowStride, plane.pixelStride)
