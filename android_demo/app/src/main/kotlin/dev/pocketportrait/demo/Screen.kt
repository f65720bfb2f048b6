package dev.pocketportrait.demo

import android.content.res.Configuration
import android.os.Build
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.LinearLayout

/** Runs work that may take long on a thread of its own. */
internal fun inBackground(work: () -> Unit) {
    Thread(work, "background").start()
}

/** Keeps a screen's content clear of the bars and the notch that newer Android draws it behind. */
internal fun keepInsideSystemBars(root: View) = root.setOnApplyWindowInsetsListener { view, insets ->
    val notch = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) insets.displayCutout else null
    view.setPadding(
        maxOf(insets.systemWindowInsetLeft, notch?.safeInsetLeft ?: 0),
        maxOf(insets.systemWindowInsetTop, notch?.safeInsetTop ?: 0),
        maxOf(insets.systemWindowInsetRight, notch?.safeInsetRight ?: 0),
        maxOf(insets.systemWindowInsetBottom, notch?.safeInsetBottom ?: 0),
    )
    insets
}

/** Puts the controls below the picture, or beside it where the screen is wider than high. */
internal fun arrange(root: LinearLayout, configuration: Configuration) {
    val isWide = configuration.orientation == Configuration.ORIENTATION_LANDSCAPE
    val picture = root.findViewById<View>(R.id.portrait)
    val controls = root.findViewById<View>(R.id.controls)
    root.orientation = if (isWide) LinearLayout.HORIZONTAL else LinearLayout.VERTICAL
    picture.layoutParams = if (isWide) LinearLayout.LayoutParams(0, MATCH_PARENT, 1f) else LinearLayout.LayoutParams(MATCH_PARENT, 0, 1f)
    controls.layoutParams = if (isWide) LinearLayout.LayoutParams(0, MATCH_PARENT, 1f) else LinearLayout.LayoutParams(MATCH_PARENT, WRAP_CONTENT, 0f)
}
