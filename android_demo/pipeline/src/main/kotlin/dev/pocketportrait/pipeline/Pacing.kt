package dev.pocketportrait.pipeline

import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

/**
 * One place for the newest frame: a frame that nobody took yet is replaced, so that work never lags behind.
 *
 * @param drop called with each frame that is replaced or left over, so that its memory is given back.
 */
class LatestFrame<T : Any>(private val drop: (T) -> Unit = {}) {
    private val lock = ReentrantLock()
    private val changed = lock.newCondition()
    private var waiting: T? = null
    private var closed = false

    /** Frames that were put in. */
    var offered = 0L
        private set

    /** Frames that a newer one replaced. */
    var dropped = 0L
        private set

    /** Puts the newest frame in; never waits. */
    fun put(frame: T) {
        val stale = lock.withLock {
            val stale = if (closed) frame else waiting
            offered++
            if (stale != null) dropped++
            if (!closed) waiting = frame
            changed.signalAll()
            stale
        }
        stale?.let(drop)
    }

    /** Waits for a frame and takes it; null once closed. */
    fun take(): T? = lock.withLock {
        while (waiting == null && !closed) changed.await()
        waiting.also { waiting = null }
    }

    /** Ends all waiting and drops what is left. */
    fun close() {
        val left = lock.withLock {
            closed = true
            changed.signalAll()
            waiting.also { waiting = null }
        }
        left?.let(drop)
    }
}

/** Frames a second and milliseconds a frame over the last [window] frames. */
class FrameClock(private val window: Int = 30) {
    private val endsS = ArrayDeque<Double>()
    private val costsMs = ArrayDeque<Double>()

    /** Counts a frame that was drawn at [nowS] and took [costMs]. */
    fun tick(nowS: Double, costMs: Double) {
        endsS.addLast(nowS)
        costsMs.addLast(costMs)
        if (endsS.size > window) {
            endsS.removeFirst()
            costsMs.removeFirst()
        }
    }

    /** Frames a second; 0 before the second frame. */
    val framesPerSecond: Double
        get() {
            val spanS = if (endsS.size < 2) 0.0 else endsS.last() - endsS.first()
            return if (spanS > 0) (endsS.size - 1) / spanS else 0.0
        }

    /** Median of a frame's cost in milliseconds; 0 before the first frame. */
    val medianMs: Double get() = if (costsMs.isEmpty()) 0.0 else percentile(costsMs.toList(), 50.0)
}
