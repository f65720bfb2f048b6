package dev.pocketportrait.demo

import android.Manifest
import android.content.Context
import android.content.pm.PackageManager
import android.graphics.ImageFormat
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import android.util.Size
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.YuvMatrix

private const val LEAST_PX = 480 // of the shorter side: a face that fills half of it has the pixels that the graphs take
private const val IMAGES = 4 // one waits, one is worked on, one arrives, one to spare

/** Why the camera gives no frames. */
enum class CameraTrouble { REFUSED, IN_USE, MISSING, FAILED }

/**
 * The front camera.
 *
 * The camera lives on a thread of its own, which ends only when the camera is closed: one that is still being opened
 * when nobody wants it any more would stay open, and no app could use it.
 *
 * @param displayDegrees asks how far the display is turned from the phone's natural position.
 * @param onFrame takes each frame on the camera's thread and has to close it.
 * @param onTrouble is told, on the camera's thread, why there are no more frames.
 */
class CameraSource(
    private val context: Context,
    private val displayDegrees: () -> Int,
    private val onFrame: (DriverFrame) -> Unit,
    private val onTrouble: (CameraTrouble, String) -> Unit,
) : DriverSource {
    private val thread = HandlerThread("camera")
    private val handler by lazy { Handler(thread.looper) }

    @Volatile
    private var closed = false

    // of the camera's thread
    private var device: CameraDevice? = null
    private var isOpening = false
    private var sensorDegrees = 0

    // images that somebody holds: closing the reader takes them away from under who reads them
    private val images = Any()
    private var reader: ImageReader? = null
    private var numHeld = 0

    // of who makes frames into pixels, one after another
    private var pixels: Picture? = null
    private var upright: Picture? = null

    override fun start() {
        thread.start()
        handler.post(::open)
    }

    override fun close() {
        closed = true
        handler.post(::finish)
    }

    private fun open() {
        if (closed) return
        if (context.checkSelfPermission(Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) return trouble(CameraTrouble.REFUSED)
        translated {
            val manager = context.getSystemService(CameraManager::class.java)
            val id = front(manager) ?: return trouble(CameraTrouble.MISSING)
            val facts = manager.getCameraCharacteristics(id)
            val size = sizeOf(facts) ?: return trouble(CameraTrouble.FAILED, "it gives no pictures")
            sensorDegrees = facts.get(CameraCharacteristics.SENSOR_ORIENTATION) ?: 0
            synchronized(images) {
                reader = ImageReader.newInstance(size.width, size.height, ImageFormat.YUV_420_888, IMAGES).also {
                    it.setOnImageAvailableListener({ offer() }, handler)
                }
            }
            manager.openCamera(id, Opening(), handler)
            isOpening = true
        }
    }

    private fun front(manager: CameraManager): String? = manager.cameraIdList.firstOrNull { id ->
        manager.getCameraCharacteristics(id).get(CameraCharacteristics.LENS_FACING) == CameraCharacteristics.LENS_FACING_FRONT
    }

    private fun sizeOf(facts: CameraCharacteristics): Size? {
        val map = facts.get(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP)
        val sizes = map?.getOutputSizes(ImageFormat.YUV_420_888).orEmpty()
        return sizes.filter { minOf(it.width, it.height) >= LEAST_PX }.minByOrNull { it.width * it.height } ?: sizes.maxByOrNull { it.width * it.height }
    }

    /** Ends everything once the camera is closed, whichever comes last. */
    private fun finish() {
        synchronized(images) {
            reader?.setOnImageAvailableListener(null, null)
            if (numHeld == 0) reader?.close()
        }
        val open = device
        if (open != null) open.close() else if (!isOpening) thread.quitSafely()
    }

    private fun offer() {
        val image = synchronized(images) { if (closed) null else reader?.acquireLatestImage()?.also { numHeld++ } } ?: return
        val degrees = (sensorDegrees + displayDegrees()) % 360
        val make = {
            val seen = pixelsOf(image, YuvMatrix.CAMERA, pixels).also { pixels = it }
            seen.oriented(degrees, mirror = true, upright).also { upright = it }
        }
        val free = {
            synchronized(images) {
                image.close()
                if (--numHeld == 0 && closed) reader?.close()
            }
        }
        onFrame(DriverFrame(image.timestamp / 1e9, make, free))
    }

    private fun trouble(trouble: CameraTrouble, detail: String = "") {
        if (!closed) onTrouble(trouble, detail)
    }

    private inline fun translated(work: () -> Unit) = try {
        work()
    } catch (error: CameraAccessException) {
        trouble(if (error.reason == CameraAccessException.CAMERA_IN_USE) CameraTrouble.IN_USE else CameraTrouble.FAILED, error.message.orEmpty())
    } catch (error: SecurityException) {
        trouble(CameraTrouble.REFUSED)
    } catch (error: IllegalStateException) { // it was closed meanwhile
        trouble(CameraTrouble.FAILED, error.message.orEmpty())
    } catch (error: IllegalArgumentException) { // it was unplugged meanwhile
        trouble(CameraTrouble.FAILED, error.message.orEmpty())
    }

    private inner class Opening : CameraDevice.StateCallback() {
        override fun onOpened(camera: CameraDevice) {
            isOpening = false
            device = camera
            if (closed) return finish()
            val surface = reader?.surface ?: return
            translated { camera.createCaptureSession(listOf(surface), Session(camera), handler) }
        }

        override fun onClosed(camera: CameraDevice) {
            if (closed) thread.quitSafely()
        }

        override fun onDisconnected(camera: CameraDevice) = lost(camera, CameraTrouble.IN_USE, "")

        override fun onError(camera: CameraDevice, error: Int) {
            val inUse = error == ERROR_CAMERA_IN_USE || error == ERROR_MAX_CAMERAS_IN_USE
            lost(camera, if (inUse) CameraTrouble.IN_USE else CameraTrouble.FAILED, "error $error")
        }

        private fun lost(camera: CameraDevice, why: CameraTrouble, detail: String) {
            isOpening = false
            device = null
            camera.close()
            trouble(why, detail)
        }
    }

    private inner class Session(private val camera: CameraDevice) : CameraCaptureSession.StateCallback() {
        override fun onConfigured(session: CameraCaptureSession) {
            val surface = reader?.surface
            if (closed || surface == null) return
            translated {
                val request = camera.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW)
                request.addTarget(surface)
                session.setRepeatingRequest(request.build(), null, handler)
            }
        }

        override fun onConfigureFailed(session: CameraCaptureSession) = trouble(CameraTrouble.FAILED, "no session")
    }
}
