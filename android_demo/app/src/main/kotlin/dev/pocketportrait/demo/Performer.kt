package dev.pocketportrait.demo

import android.content.Context
import android.os.SystemClock
import android.util.Log
import dev.pocketportrait.pipeline.Bundle
import dev.pocketportrait.pipeline.CropSteering
import dev.pocketportrait.pipeline.Cutter
import dev.pocketportrait.pipeline.DrawnFrame
import dev.pocketportrait.pipeline.FrameClock
import dev.pocketportrait.pipeline.InputError
import dev.pocketportrait.pipeline.LatestFrame
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.PortraitSession
import dev.pocketportrait.pipeline.centredCrop
import java.util.concurrent.ConcurrentLinkedQueue

/** What the performer tells, on its own thread; pictures are the performer's and change with the next frame. */
interface PerformerListener {
    fun onReady(bundle: Bundle)

    /** The face is still being framed; [square] is what the camera sees. */
    fun onFraming(square: Picture)

    fun onDrawn(frame: DrawnFrame, clock: FrameClock)

    /** It has ended by itself, for the reason that [message] tells. */
    fun onEnded(performer: Performer, message: String)
}

/**
 * The one thread that owns the model: it takes the newest frame, draws, and tells.
 *
 * Frames that come while it draws replace each other, so that the picture never lags behind the driver.
 */
class Performer(private val context: Context, private val listener: PerformerListener) : AutoCloseable {
    private val frames = LatestFrame<DriverFrame> { it.close() }
    private val commands = ConcurrentLinkedQueue<(PortraitSession) -> Unit>()

    @Volatile
    private var closed = false

    @Volatile
    private var isLive = false

    // of the thread
    private val clock = FrameClock()
    private val cutter = Cutter()
    private var square: Picture? = null
    private var steering: CropSteering? = null
    private val thread = Thread(::work, "performer")

    /** Starts; returns at once. */
    fun start() = thread.start()

    /** Offers a frame; never waits. */
    fun offer(frame: DriverFrame) = frames.put(frame)

    /** Takes another photo before the next frame. */
    fun setPhoto(square: Picture) {
        commands.add { it.setPhoto(square) }
    }

    /** Takes the next frame as the one that motion counts from; with a camera it frames the face again first. */
    fun resetNeutral() {
        commands.add { session ->
            session.transfer.resetNeutral()
            steering = null
        }
    }

    /** Tells who drives from now on. */
    fun driverChanged(live: Boolean) {
        isLive = live
        resetNeutral()
    }

    override fun close() {
        closed = true
        frames.close()
    }

    private fun work() {
        val trouble = troubleOf(context) {
            val bundle = shippedBundle(context)
            engineNamed("ort", "cpu").use { engine ->
                PortraitSession(bundle, engine, precisionFor(bundle, engine)).use { session ->
                    listener.onReady(bundle)
                    while (true) frames.take()?.use { draw(session, it) } ?: break
                }
            }
        }
        frames.close()
        if (trouble != null && !closed) listener.onEnded(this, trouble)
    }

    private fun draw(session: PortraitSession, frame: DriverFrame) {
        while (true) commands.poll()?.invoke(session) ?: break
        if (!session.hasPhoto) return
        val start = SystemClock.elapsedRealtimeNanos()
        val picture = pixels(frame) ?: return
        val middle = centredCrop(picture.width, picture.height)
        val following = if (isLive) steering ?: CropSteering(middle, picture.width, picture.height).also { steering = it } else null
        val seen = cutter.cut(picture, following?.crop ?: middle, square).also { square = it }
        if (following != null && !following.settled) {
            following.update(session.look(seen), frame.timeS)
            return listener.onFraming(seen)
        }
        val drawn = session.step(seen)
        following?.let { session.transfer.moveNeutral(it.update(drawn.pose, frame.timeS)) }
        val now = SystemClock.elapsedRealtimeNanos()
        clock.tick(now / 1e9, (now - start) / 1e6)
        listener.onDrawn(drawn, clock)
    }

    /** Returns a frame's pixels, null for a broken frame: the next one may be whole. */
    private fun pixels(frame: DriverFrame): Picture? = try {
        frame.picture()
    } catch (error: InputError) {
        Log.w("pocketportrait", "a frame is dropped: ${error.message}")
        null
    } catch (error: IllegalStateException) { // its image went with the camera
        null
    }
}
