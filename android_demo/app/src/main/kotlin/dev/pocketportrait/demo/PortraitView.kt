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

/** Shows the animated photo, and the oval in which a face belongs while the camera looks for it. */
class PortraitView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val bitmap = Bitmap.createBitmap(SIDE_PX, SIDE_PX, Bitmap.Config.ARGB_8888)
    private val pixels = IntArray(SIDE_PX * SIDE_PX)
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private val line = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        color = Color.WHITE
        strokeWidth = 3 * resources.displayMetrics.density
    }
    private val label = PictureLabel(context)
    private var isMade = false
    private val place = RectF()
    private val oval = RectF()

    /** Whether the oval is drawn. */
    var showsGuide = false
        set(value) {
            field = value
            contentDescription = context.getString(if (value) R.string.guide_description else R.string.portrait_description)
            invalidate()
        }

    /** Shows a picture of the graphs' size, with a label if a model [made] it; called on the main thread. */
    fun show(picture: Picture, made: Boolean) {
        isMade = made
        picture.into(bitmap, pixels)
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        val side = minOf(width, height).toFloat()
        place.set((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        canvas.drawBitmap(bitmap, null, place, smooth)
        if (isMade) label.draw(canvas, place)
        if (!showsGuide) return
        // a face in the training framing: its landmarks fill 1 / 1.9 of the side, a little below the middle
        oval.set(place.centerX() - 0.21f * side, place.centerY() - 0.20f * side, place.centerX() + 0.21f * side, place.centerY() + 0.31f * side)
        canvas.drawOval(oval, line)
    }
}
