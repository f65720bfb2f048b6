package dev.pocketportrait.demo

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.RectF
import android.util.AttributeSet
import android.view.View
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.SIDE_PX

/** What the square shows, and what a screen reader says of it. */
enum class Shown(val description: Int) {
    NOTHING(R.string.nothing_description),
    PHOTO(R.string.photo_description),
    CAMERA(R.string.guide_description),
    PORTRAIT(R.string.portrait_description),
}

/** Shows the animated photo; while the camera looks for a face, its picture with an oval for the face. */
class PortraitView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val bitmap = Bitmap.createBitmap(SIDE_PX, SIDE_PX, Bitmap.Config.ARGB_8888)
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private val line = ovalPaint(Color.WHITE, 3f)
    private val shadow = ovalPaint(Color.BLACK, 6f) // the oval is seen on a bright wall too
    private val label = PictureLabel(context)
    private val place = RectF()
    private val oval = RectF()

    // written by the performer's thread, read by the main one
    private val pixels = IntArray(SIDE_PX * SIDE_PX)
    private var isNew = false
    private var shown = Shown.NOTHING

    init {
        contentDescription = context.getString(shown.description)
    }

    /** Shows a picture of the graphs' size, which is copied; from any thread. */
    fun show(picture: Picture, shows: Shown) {
        val isOther = synchronized(pixels) {
            picture.intoPixels(pixels)
            isNew = true
            (shown != shows).also { shown = shows }
        }
        if (isOther) post { contentDescription = context.getString(shows.description) }
        postInvalidate()
    }

    override fun onDraw(canvas: Canvas) {
        val side = minOf(width, height).toFloat()
        place.set((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        val shows = synchronized(pixels) {
            if (isNew) bitmap.setPixels(pixels, 0, SIDE_PX, 0, 0, SIDE_PX, SIDE_PX)
            isNew = false
            shown
        }
        canvas.drawBitmap(bitmap, null, place, smooth)
        if (shows == Shown.PORTRAIT) label.draw(canvas, place)
        if (shows != Shown.CAMERA) return
        // a face in the training framing: its landmarks fill 1 / 1.9 of the side, a little below the middle
        oval.set(place.centerX() - 0.21f * side, place.centerY() - 0.20f * side, place.centerX() + 0.21f * side, place.centerY() + 0.31f * side)
        canvas.drawOval(oval, shadow)
        canvas.drawOval(oval, line)
    }

    private fun ovalPaint(shade: Int, widthDp: Float) = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        color = shade
        strokeWidth = widthDp * resources.displayMetrics.density
    }
}
