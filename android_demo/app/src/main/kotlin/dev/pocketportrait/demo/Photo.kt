package dev.pocketportrait.demo

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.graphics.PointF
import android.graphics.Rect
import android.media.ExifInterface
import android.media.FaceDetector
import android.net.Uri
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.SquareCrop
import dev.pocketportrait.pipeline.centredCrop
import dev.pocketportrait.pipeline.cropForEyes
import dev.pocketportrait.pipeline.cut
import java.io.IOException
import kotlin.math.ceil
import kotlin.math.floor

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
    val found = faceCrop(bitmap)
    val crop = found ?: centredCrop(bitmap.width, bitmap.height)
    val region = regionOf(crop, bitmap)
    val inside = SquareCrop(crop.x - region.left, crop.y - region.top, crop.side)
    return Photo(cut(pictureOf(bitmap, region), inside), found != null)
}

/** Returns the pixels that a crop needs: those in it and two around it, which enlarging reads too. */
private fun regionOf(crop: SquareCrop, bitmap: Bitmap): Rect {
    val left = (floor(crop.x).toInt() - 2).coerceIn(0, bitmap.width - 1)
    val top = (floor(crop.y).toInt() - 2).coerceIn(0, bitmap.height - 1)
    val right = (ceil(crop.x + crop.side).toInt() + 2).coerceIn(left + 1, bitmap.width)
    val bottom = (ceil(crop.y + crop.side).toInt() + 2).coerceIn(top + 1, bitmap.height)
    return Rect(left, top, right, bottom)
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

/** Returns the pixels of a part of a bitmap, row by row: a large photo is in memory once. */
private fun pictureOf(bitmap: Bitmap, region: Rect): Picture {
    val picture = Picture.blank(region.width(), region.height())
    val row = IntArray(picture.width)
    var at = 0
    for (y in region.top until region.bottom) {
        bitmap.getPixels(row, 0, row.size, region.left, y, row.size, 1)
        for (pixel in row) {
            picture.rgb[at++] = (pixel shr 16).toByte()
            picture.rgb[at++] = (pixel shr 8).toByte()
            picture.rgb[at++] = pixel.toByte()
        }
    }
    return picture
}

/** Writes a picture as the colours that bitmaps take; [pixels] has its size. */
fun Picture.intoPixels(pixels: IntArray) {
    var at = 0
    for (k in pixels.indices) {
        val red = rgb[at++].toInt() and 0xff
        val green = rgb[at++].toInt() and 0xff
        val blue = rgb[at++].toInt() and 0xff
        pixels[k] = OPAQUE or (red shl 16) or (green shl 8) or blue
    }
}

private const val OPAQUE = 0xff shl 24
