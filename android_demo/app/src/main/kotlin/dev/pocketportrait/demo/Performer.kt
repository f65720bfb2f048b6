package dev.pocketportrait.demo

import android.content.Context
import android.os.SystemClock
import android.util.Log
import dev.pocketportrait.pipeline.Bundle
import dev.pocketportrait.pipeline.CropSteering
import dev.pocketportrait.pipeline.DrawnFrame
import dev.pocketportrait.pipeline.FrameClock
import dev.pocketportrait.pipeline.InputError
import dev.pocketportrait.pipeline.LatestFrame
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.PortraitSession
import dev.pocketportrait.pipeline.centredCrop
import dev.pocketportrait.pipeline.cut
import java.util.concurrent.ConcurrentLinkedQueue

/** What the performer tells, on its own thread. */
interface PerformerListener {
    fun onReady(bundle: Bundle)

    fun onDrawn(frame: DrawnFrame, timeS: Double, clock: FrameClock)

    fun onTrouble(message: String)
}

/**
 * The one thread that owns the model: it takes the newest frame, draws, and tells.
 *
 * Frames that come while it draws replace each other, so that the picture never lags behind the driver.
 */
class Performer(private val context: Context, private val listener: PerformerListener) : AutoCloseable {
    private val frames = LatestFrame<DriverFrame> { it.close() }
    private val commands = ConcurrentLinkedQueue<(PortraitSession) -> Unit>()
    private val clock = FrameClock()
    private var steering: CropSteering? = null

    @Volatile
    private var isLive = false
    private val thread = Thread(::work, "performer").also { it.start() }

    /** Offers a frame; never waits. */
    fun offer(frame: DriverFrame) = frames.put(frame)

    /** Takes another photo before the next frame. */
    fun setPhoto(square: Picture) {
        commands.add { it.setPhoto(square) }
    }

    /** Takes the next frame as the one that motion counts from, and looks for the face again. */
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

    override fun close() = frames.close()

    private fun work() {
        try {
            val bundle = shippedBundle(context)
            engineNamed("ort", "cpu").use { engine ->
                PortraitSession(bundle, engine, precisionFor(bundle, engine)).use { session ->
                    listener.onReady(bundle)
                    while (true) frames.take()?.use { draw(session, it) } ?: return
                }
            }
        } catch (error: InputError) {
            listener.onTrouble(error.message.orEmpty())
        } catch (error: OutOfMemoryError) {
            listener.onTrouble(context.getString(R.string.memory_low))
        } catch (error: UnsatisfiedLinkError) { // an engine without a library for this processor
            listener.onTrouble(error.message.orEmpty())
        }
    }

    private fun draw(session: PortraitSession, frame: DriverFrame) {
        while (true) commands.poll()?.invoke(session) ?: break
        if (!session.hasPhoto) return
        val start = SystemClock.elapsedRealtimeNanos()
        val picture = pixels(frame) ?: return
        val following = if (isLive) steering ?: CropSteering(centredCrop(picture.width, picture.height), picture.width, picture.height).also { steering = it } else null
        val crop = following?.crop ?: centredCrop(picture.width, picture.height)
        val drawn = session.step(cut(picture, crop))
        following?.let { session.transfer.moveNeutral(it.update(drawn.pose, frame.timeS)) }
        val now = SystemClock.elapsedRealtimeNanos()
        clock.tick(now / 1e9, (now - start) / 1e6)
        listener.onDrawn(drawn, frame.timeS, clock)
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
