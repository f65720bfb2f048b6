// Kotlin of Android modules is built into the Android plugin; only the pure JVM modules apply it.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.android.library) apply false
    alias(libs.plugins.kotlin.jvm) apply false
}
