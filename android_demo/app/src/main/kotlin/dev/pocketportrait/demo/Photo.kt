package dev.pocketportrait.demo

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.graphics.PointF
import android.media.ExifInterface
import android.media.FaceDetector
import android.net.Uri
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.SquareCrop
import dev.pocketportrait.pipeline.centredCrop
import dev.pocketportrait.pipeline.cropForEyes
import dev.pocketportrait.pipeline.cut
import java.io.IOException

private const val LARGEST_PX = 1600 // a face of half a picture still has three times what the graphs take
private const val DETECTOR_PX = 640
private const val LEAST_CONFIDENCE = 0.4f

/** A photo as the graphs take it. */
class Photo(val square: Picture, val hasFace: Boolean)

/**
 * Reads a photo that its user chose, upright, and frames its face.
 *
 * @throws IOException it cannot be read, or is no picture.
 */
fun readPhoto(resolver: ContentResolver, uri: Uri): Photo {
    val bounds = BitmapFactory.Options().also { it.inJustDecodeBounds = true }
    open(resolver, uri).use { BitmapFactory.decodeStream(it, null, bounds) }
    if (bounds.outWidth <= 0) throw IOException("it is no picture that Android reads")
    val options = BitmapFactory.Options()
    while (maxOf(bounds.outWidth, bounds.outHeight) / (2 * maxOf(1, options.inSampleSize)) >= LARGEST_PX) {
        options.inSampleSize = 2 * maxOf(1, options.inSampleSize)
    }
    val bitmap = open(resolver, uri).use { BitmapFactory.decodeStream(it, null, options) } ?: throw IOException("it is damaged")
    return framed(upright(bitmap, orientation(resolver, uri)))
}

/** Frames the face of an upright picture; without a face its middle. */
fun framed(bitmap: Bitmap): Photo {
    val crop = faceCrop(bitmap)
    return Photo(cut(pictureOf(bitmap), crop ?: centredCrop(bitmap.width, bitmap.height)), crop != null)
}

private fun open(resolver: ContentResolver, uri: Uri) = resolver.openInputStream(uri) ?: throw IOException("it is gone")

private fun orientation(resolver: ContentResolver, uri: Uri): Int = try {
    open(resolver, uri).use { ExifInterface(it).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL) }
} catch (error: IOException) {
    ExifInterface.ORIENTATION_NORMAL // formats without EXIF
}

private fun upright(bitmap: Bitmap, orientation: Int): Bitmap {
    val matrix = Matrix()
    when (orientation) {
        ExifInterface.ORIENTATION_FLIP_HORIZONTAL -> matrix.postScale(-1f, 1f)
        ExifInterface.ORIENTATION_ROTATE_180 -> matrix.postRotate(180f)
        ExifInterface.ORIENTATION_FLIP_VERTICAL -> matrix.postScale(1f, -1f)
        ExifInterface.ORIENTATION_TRANSPOSE -> matrix.also { it.postRotate(90f) }.postScale(-1f, 1f)
        ExifInterface.ORIENTATION_ROTATE_90 -> matrix.postRotate(90f)
        ExifInterface.ORIENTATION_TRANSVERSE -> matrix.also { it.postRotate(270f) }.postScale(-1f, 1f)
        ExifInterface.ORIENTATION_ROTATE_270 -> matrix.postRotate(270f)
    }
    val turned = if (matrix.isIdentity) bitmap else Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, matrix, true)
    if (!turned.hasAlpha()) return turned
    val opaque = Bitmap.createBitmap(turned.width, turned.height, Bitmap.Config.ARGB_8888)
    Canvas(opaque).apply {
        drawColor(Color.GRAY)
        drawBitmap(turned, 0f, 0f, null)
    }
    return opaque
}

/** Asks the platform's detector, which wants RGB 565 of an even width. */
private fun faceCrop(bitmap: Bitmap): SquareCrop? {
    val scale = minOf(1f, DETECTOR_PX.toFloat() / maxOf(bitmap.width, bitmap.height))
    val width = maxOf(2, (bitmap.width * scale).toInt() / 2 * 2)
    val height = maxOf(2, (bitmap.height * scale).toInt())
    val small = Bitmap.createScaledBitmap(bitmap, width, height, true).copy(Bitmap.Config.RGB_565, false)
    val faces = arrayOfNulls<FaceDetector.Face>(4)
    val count = FaceDetector(width, height, faces.size).findFaces(small, faces)
    val face = faces.take(count).filterNotNull().filter { it.confidence() >= LEAST_CONFIDENCE }.maxByOrNull { it.eyesDistance() } ?: return null
    val middle = PointF().also(face::getMidPoint)
    val across = bitmap.width.toDouble() / width
    val down = bitmap.height.toDouble() / height
    return cropForEyes(middle.x * across, middle.y * down, face.eyesDistance() * across, bitmap.width, bitmap.height)
}

/** Returns the pixels of a bitmap. */
fun pictureOf(bitmap: Bitmap): Picture {
    val pixels = IntArray(bitmap.width * bitmap.height)
    val readable = if (bitmap.config == Bitmap.Config.ARGB_8888) bitmap else bitmap.copy(Bitmap.Config.ARGB_8888, false)
    readable.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
    val rgb = ByteArray(3 * pixels.size)
    pixels.forEachIndexed { at, pixel ->
        rgb[3 * at] = (pixel shr 16).toByte()
        rgb[3 * at + 1] = (pixel shr 8).toByte()
        rgb[3 * at + 2] = pixel.toByte()
    }
    return Picture(bitmap.width, bitmap.height, rgb)
}

/** Writes a picture into a bitmap of its size. */
fun Picture.into(bitmap: Bitmap, pixels: IntArray = IntArray(width * height)): Bitmap {
    for (at in pixels.indices) {
        val red = rgb[3 * at].toInt() and 0xff
        val green = rgb[3 * at + 1].toInt() and 0xff
        val blue = rgb[3 * at + 2].toInt() and 0xff
        pixels[at] = Color.rgb(red, green, blue)
    }
    bitmap.setPixels(pixels, 0, width, 0, 0, width, height)
    return bitmap
}
