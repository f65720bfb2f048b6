package dev.pocketportrait.demo

import android.content.Context
import android.os.Build
import android.os.PowerManager
import dev.pocketportrait.pipeline.Engine
import dev.pocketportrait.pipeline.MachineRecord

/** Whether this is an emulator, whose times are no latency of any phone. */
val isEmulator: Boolean get() = Build.HARDWARE in setOf("goldfish", "ranchu", "cutf_cvm") || Build.FINGERPRINT.startsWith("generic")

/** Returns what a reader needs to compare figures from two phones; no names, no serial numbers. */
fun describeDevice(engine: Engine): MachineRecord = MachineRecord(
    system = "Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT})",
    architecture = Build.SUPPORTED_ABIS.firstOrNull().orEmpty(),
    processor = "${Build.MANUFACTURER} ${Build.MODEL} (${Build.HARDWARE})",
    cores = Runtime.getRuntime().availableProcessors(),
    engines = mapOf(engine.name to engine.version),
)

/** Returns the thermal status of [PowerManager], -1 where the phone is too old to tell. */
fun thermalStatus(context: Context): Int {
    if (Build.VERSION.SDK_INT < Build.VERSION_CODES.Q) return -1
    return context.getSystemService(PowerManager::class.java).currentThermalStatus
}

/** Returns a thermal status in words. */
fun thermalText(context: Context, status: Int): String = context.getString(
    when {
        status < 0 -> R.string.thermal_unknown
        status == 0 -> R.string.thermal_none
        status <= 2 -> R.string.thermal_light
        else -> R.string.thermal_hot
    },
)
