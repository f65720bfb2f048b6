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
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import dev.pocketportrait.pipeline.YuvMatrix
import java.util.concurrent.atomic.AtomicInteger

private const val WIDTH_PX = 640
private const val HEIGHT_PX = 480
private const val IMAGES = 4 // one waits, one is worked on, one arrives, one to spare

/** Why the camera gives no frames. */
enum class CameraTrouble { REFUSED, IN_USE, MISSING, FAILED }

/**
 * The front camera, 640 x 480.
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
    override val isLive = true
    private val thread = HandlerThread("camera")
    private val reader = ImageReader.newInstance(WIDTH_PX, HEIGHT_PX, ImageFormat.YUV_420_888, IMAGES)
    private var device: CameraDevice? = null
    private var sensorDegrees = 0
    private val taken = AtomicInteger()

    @Volatile
    private var closed = false

    override fun start() {
        thread.start()
        val handler = Handler(thread.looper)
        reader.setOnImageAvailableListener({ offer(it.acquireLatestImage()) }, handler)
        val manager = context.getSystemService(CameraManager::class.java)
        if (context.checkSelfPermission(Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) return onTrouble(CameraTrouble.REFUSED, "")
        try {
            val id = front(manager) ?: return onTrouble(CameraTrouble.MISSING, "")
            sensorDegrees = manager.getCameraCharacteristics(id).get(CameraCharacteristics.SENSOR_ORIENTATION) ?: 0
            manager.openCamera(id, Opening(handler), handler)
        } catch (error: CameraAccessException) {
            onTrouble(if (error.reason == CameraAccessException.CAMERA_IN_USE) CameraTrouble.IN_USE else CameraTrouble.FAILED, error.message.orEmpty())
        } catch (error: SecurityException) {
            onTrouble(CameraTrouble.REFUSED, error.message.orEmpty())
        }
    }

    override fun close() {
        closed = true
        device?.close()
        device = null
        thread.quitSafely()
        reader.setOnImageAvailableListener(null, null)
        if (taken.get() == 0) reader.close()
    }

    private fun front(manager: CameraManager): String? = manager.cameraIdList.firstOrNull { id ->
        manager.getCameraCharacteristics(id).get(CameraCharacteristics.LENS_FACING) == CameraCharacteristics.LENS_FACING_FRONT
    }

    private fun offer(image: Image?) {
        if (image == null) return
        if (closed) return image.close()
        val degrees = (sensorDegrees + displayDegrees()) % 360
        val timeS = image.timestamp / 1e9
        taken.incrementAndGet()
        onFrame(DriverFrame(timeS, { pixelsOf(image, YuvMatrix.CAMERA).oriented(degrees, mirror = true) }, { giveBack(image) }))
    }

    /** Closes an image, and with the last one the reader: it would take an image away from under who reads it. */
    private fun giveBack(image: Image) {
        image.close()
        if (taken.decrementAndGet() == 0 && closed) reader.close()
    }

    private inner class Opening(private val handler: Handler) : CameraDevice.StateCallback() {
        override fun onOpened(camera: CameraDevice) {
            if (closed) return camera.close()
            device = camera
            try {
                camera.createCaptureSession(listOf(reader.surface), Session(camera, handler), handler)
            } catch (error: CameraAccessException) {
                onTrouble(CameraTrouble.FAILED, error.message.orEmpty())
            }
        }

        override fun onDisconnected(camera: CameraDevice) {
            camera.close()
            if (!closed) onTrouble(CameraTrouble.IN_USE, "")
        }

        override fun onError(camera: CameraDevice, error: Int) {
            camera.close()
            val inUse = error == ERROR_CAMERA_IN_USE || error == ERROR_MAX_CAMERAS_IN_USE
            if (!closed) onTrouble(if (inUse) CameraTrouble.IN_USE else CameraTrouble.FAILED, "error $error")
        }
    }

    private inner class Session(private val camera: CameraDevice, private val handler: Handler) : CameraCaptureSession.StateCallback() {
        override fun onConfigured(session: CameraCaptureSession) {
            if (closed) return
            try {
                val request = camera.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW)
                request.addTarget(reader.surface)
                request.set(CaptureRequest.CONTROL_AF_MODE, CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_VIDEO)
                session.setRepeatingRequest(request.build(), null, handler)
            } catch (error: CameraAccessException) {
                onTrouble(CameraTrouble.FAILED, error.message.orEmpty())
            } catch (error: IllegalStateException) {
                if (!closed) onTrouble(CameraTrouble.FAILED, error.message.orEmpty())
            }
        }

        override fun onConfigureFailed(session: CameraCaptureSession) = onTrouble(CameraTrouble.FAILED, "no session")
    }
}
