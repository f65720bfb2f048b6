package dev.pocketportrait.demo

import android.content.Context
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.RectF

private const val LETTERS = 0.05f // their height, of the picture's side
private const val PLATE_ALPHA = 140

/** The visible label: words in the lower left corner of every picture that the model drew, on screen and in recordings. */
class PictureLabel(context: Context) {
    private val words = context.getString(R.string.label)
    private val plate = Paint().apply { color = Color.argb(PLATE_ALPHA, 0, 0, 0) }
    private val letters = Paint(Paint.ANTI_ALIAS_FLAG).apply { color = Color.WHITE }

    /** Draws the label into the corner of a picture that fills [place]. */
    fun draw(canvas: Canvas, place: RectF) {
        letters.textSize = LETTERS * place.height()
        val margin = letters.textSize / 2
        val line = letters.fontMetrics
        val right = place.left + letters.measureText(words) + 2 * margin
        canvas.drawRect(place.left, place.bottom - (line.descent - line.ascent) - margin, right, place.bottom, plate)
        canvas.drawText(words, place.left + margin, place.bottom - line.descent - margin / 2, letters)
    }
}
