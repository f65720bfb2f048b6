package dev.pocketportrait.demo

import android.content.Context
import dev.pocketportrait.pipeline.Picture
import java.io.File
import java.io.IOException

/**
 * The one recording at a time: the main thread begins it, the performer's adds to it, any may end it.
 *
 * A file that is whole waits in the cache under its final name until it is saved or dropped: it outlives the screen, and the app.
 */
class Recording(private val context: Context) {
    private val lock = Any()
    private var recorder: Recorder? = null
    private var isBroken = false
    private val unfinished = File(context.cacheDir, "recording.part")

    /** What waits to be saved. */
    val file = File(context.cacheDir, "recording.mp4")

    /** Whether pictures are recorded. */
    val isRunning: Boolean get() = synchronized(lock) { recorder != null }

    /**
     * Begins; a recording that waits is replaced when this one ends.
     *
     * @throws IOException the phone has no encoder, or the file cannot be written.
     */
    fun begin() {
        val made = Recorder(unfinished, PictureLabel(context))
        synchronized(lock) {
            recorder = made
            isBroken = false
        }
    }

    /**
     * Adds a picture if pictures are recorded.
     *
     * @throws IOException the encoder or the storage failed, which is told once; [end] tells whether something can be saved.
     */
    fun add(picture: Picture): Unit = synchronized(lock) {
        if (isBroken) return
        try {
            recorder?.add(picture)
        } catch (error: IOException) {
            isBroken = true
            throw error
        }
    }

    /**
     * Ends; waits for the encoder, so not for the main thread.
     *
     * @return whether there is a file to save; null if nothing was recorded, because somebody else has ended it.
     * @throws IOException what was recorded could not be finished.
     */
    fun end(): Boolean? {
        val ended = synchronized(lock) { recorder.also { recorder = null } } ?: return null
        if (!ended.finish()) return false
        if (!unfinished.renameTo(file)) throw IOException("no place in the cache")
        return true
    }
}
